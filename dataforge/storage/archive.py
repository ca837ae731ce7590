"""Where files that outlive the database lie: a local folder, or a bucket of S3.

Guarantees that whatever goes wrong on the way is an ArchiveUnavailable that names the file and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyarrow import ArrowException, NativeFile, fs

from dataforge.model.errors import ArchiveUnavailable

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

_REMEDY = "correct DATAFORGE_ARCHIVE or what it leads to, and try again"


class Archive:
    """A folder, by a path, or by a URI such as `s3://bucket/prefix?region=eu-central-1`; what pyarrow's S3 file system
    takes may be given in its query, `endpoint_override` and `scheme` among it. Credentials are found as AWS's own
    programs find them."""

    def __init__(self, place: str) -> None:
        self.place = place.partition("?")[0]
        with _reached(self.place):
            if place.startswith("s3://"):
                self._files, self._root = fs.FileSystem.from_uri(place)
            else:
                self._files, self._root = fs.LocalFileSystem(), place

    @contextmanager
    def writing(self, file: str) -> Iterator[NativeFile]:
        """A new file; of one that is there nothing stays. Who reads a bucket sees it when the block has ended."""
        path = f"{self._root}/{file}"
        with _reached(f"{self.place}/{file}"):
            if isinstance(self._files, fs.LocalFileSystem):  # a bucket has no folders
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(path) as stream:
                yield stream

    @contextmanager
    def reading(self, file: str) -> Iterator[NativeFile]:
        """A file that is there."""
        with _reached(f"{self.place}/{file}"), self._files.open_input_file(f"{self._root}/{file}") as stream:
            yield stream

    def dataset(self, file: str) -> Dataset:
        """A Parquet file that is there, for a query that reads of it what it needs."""
        from pyarrow import dataset  # half a second, and most archives hold nothing of what is asked for

        with _reached(f"{self.place}/{file}"):
            return dataset.dataset(f"{self._root}/{file}", format="parquet", filesystem=self._files)

    def rename(self, file: str, name: str) -> None:
        """Gives a file another name, where another may be that is the same then."""
        with _reached(f"{self.place}/{name}"):
            self._files.move(f"{self._root}/{file}", f"{self._root}/{name}")

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, in their order; none where there is no folder."""
        with _reached(f"{self.place}/{folder}"):
            found = self._files.get_file_info(fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True))
        return sorted(each.base_name for each in found if each.type == fs.FileType.File)


@contextmanager
def _reached(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ArrowException) as error:
        raise ArchiveUnavailable(f"{place} in the archive: {str(error).splitlines()[0]}; {_REMEDY}") from error
