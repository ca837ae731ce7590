"""`make dictionary`: trains the dictionary of event bodies on the captured events of the example."""

import sys
from pathlib import Path

import msgspec
import zstandard

CAPTURES = Path(__file__).parents[2] / "examples" / "captures"
TARGET = Path(__file__).parent / "bodies.zdict"
SIZE = 64 * 1024


def main() -> None:
    """Writes the dictionary, and says how well it does on the events it was trained on."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    bodies: list[bytes | bytearray | memoryview] = [
        encode(msgspec.json.decode(line))
        for path in sorted(CAPTURES.glob("**/events.jsonl"))
        for line in path.read_bytes().splitlines()
    ]
    trained = zstandard.train_dictionary(SIZE, bodies)
    TARGET.write_bytes(trained.as_bytes())
    compressor = zstandard.ZstdCompressor(level=6, dict_data=trained)
    before, after = sum(map(len, bodies)), sum(len(compressor.compress(body)) for body in bodies)
    sys.stdout.write(f"{len(bodies)} bodies: {before:,} bytes, compressed {after:,} ({after / before:.1%})\n")


if __name__ == "__main__":
    main()
