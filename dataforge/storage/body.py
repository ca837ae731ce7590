"""Event bodies, compressed: facets repeat from event to event, so a trained dictionary shrinks each on its own.

The dictionary is kept in the database beside the bodies that need it, so that every body stays readable when a
newer dictionary is shipped.
"""

from functools import cache, lru_cache
from importlib.resources import files
from threading import get_ident

import zstandard
from psycopg import Connection

LEVEL = 6  # measured on captured Airflow events: above it a tenth smaller for twice the time


@cache
def _shipped() -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(files("dataforge.storage").joinpath("bodies.zdict").read_bytes())


def compress(body: bytes) -> bytes:
    """A zstandard frame that names its dictionary."""
    return _compressor(get_ident()).compress(body)


@lru_cache(maxsize=64)
def _compressor(_thread: int) -> zstandard.ZstdCompressor:
    """A compressor for each thread, since none may be shared; digesting the dictionary costs more than a body."""
    dictionary = zstandard.ZstdCompressionDict(_shipped().as_bytes())
    dictionary.precompute_compress(level=LEVEL)
    return zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary)


KEPT = "select from body_dictionary where id = %s"
KEEP = "insert into body_dictionary (id, content) values (%s, %s) on conflict do nothing"


def dictionary_id() -> int:
    """The id of the shipped dictionary, by which bodies name it."""
    return _shipped().dict_id()


def keep_dictionary(connection: Connection) -> None:
    """Stores the shipped dictionary, once."""
    if connection.execute(KEPT, [dictionary_id()]).fetchone() is None:  # it is 64 KB: seldom sent
        connection.execute(KEEP, [dictionary_id(), _shipped().as_bytes()])


LOAD = "select content from body_dictionary where id = %s"


def decompress(connection: Connection, frame: bytes) -> bytes:
    """The body of a frame, by the dictionary it names."""
    wanted = zstandard.get_frame_parameters(frame).dict_id
    dictionary = _shipped()
    if wanted != dictionary.dict_id():
        row = connection.execute(LOAD, [wanted]).fetchone()
        assert row is not None, f"the dictionary {wanted} was stored with the first body that used it"
        dictionary = zstandard.ZstdCompressionDict(row[0])
    return zstandard.ZstdDecompressor(dict_data=dictionary).decompress(frame)
