"""How tasks and datasets are named, and the 64-bit id that stands for a name in every table.

The id is a hash of the name, so that it needs no look-up, is the same in every database, and serves as the
shard key. A collision is refused by the database (unique name, unique id), never merged silently.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec

NodeKind = Literal["task", "dataset"]


@lru_cache(maxsize=2**15)  # most names of a batch were in the one before it
def node_id(namespace: str, name: str) -> int:
    """The signed 64-bit id of a name. NUL cannot occur in either part, so it separates them."""
    digest = blake2b(f"{namespace}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class TaskRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """A task by the namespace and name that OpenLineage gives its job."""

    namespace: Annotated[str, msgspec.Meta(description="Its namespace.")]
    name: Annotated[str, msgspec.Meta(description="Its name.")]

    @property
    def id(self) -> int:
        return node_id(self.namespace, self.name)


class DatasetRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """A dataset by OpenLineage's namespace and name, its partition not part of either."""

    namespace: str
    name: str

    @property
    def id(self) -> int:
        return node_id(self.namespace, self.name)
