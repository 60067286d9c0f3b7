"""The port of objects by the folder that they lie in: lists, long writes, removal.

A folder is what keys begin with, up to a slash. What the protocol of rounds never needs: its
objects are small enough to be put at once, are found by name, and stay.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ListedObject", "ObjectFolders"]


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object that a folder has, and its bytes."""

    key: str
    size: int


class ObjectFolders(Protocol):
    """The bucket's folders. All methods block; all are safe to call twice."""

    def list(self, folder: str) -> Iterator[ListedObject]:
        """Yield the objects whose keys start with ``folder``, by key in the order of its bytes.

        Raises:
            Unavailable: no answer.
        """
        ...

    def write(self, key: str, blocks: Iterable[bytes]) -> int:
        """Create an object of blocks of any sizes, and return its bytes.

        Atomic and create-once; memory is one part (8 MiB) and one block, however long it becomes.
        What blocks raise is raised, and nothing is made. The caller names an object by what it is
        made of: an existing key of the right size is a success.

        Raises:
            AlreadyExists: the key holds an object of another size.
            Unavailable: no answer.
        """
        ...

    def remove(self, folder: str) -> int:
        """Remove every object whose key starts with ``folder``, in all its versions.

        Not atomic: call it again after an error. Returns how many objects or versions there were.

        Raises:
            ValueError: ``folder`` does not end with a slash: a typing mistake must not cost more.
            Unavailable: no answer.
        """
        ...
