"""Folders of the bucket in S3."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from rondo_core.aws.failures import answered, error_code
from rondo_core.aws.s3_assembly import PartUpload
from rondo_core.errors import Unavailable
from rondo_core.model_store import AlreadyExists
from rondo_core.object_folders import ListedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

__all__ = ["S3ObjectFolders"]

_PART_BYTES = 8 * 1024 * 1024
"""S3 takes 10,000 parts, so an object has up to 80 GB."""
_TAKEN = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})


class S3ObjectFolders:
    """``ObjectFolders`` of one versioned S3 bucket; thread-safe, as its client is."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def list(self, folder: str) -> Iterator[ListedObject]:
        """Yield the objects of a folder, a page of 1,000 at a time."""
        pages = self._client.get_paginator("list_objects_v2")
        with answered(f"list {folder}"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=folder):
                for found in page.get("Contents", ()):
                    yield ListedObject(found["Key"], found["Size"])

    def write(self, key: str, blocks: Iterable[bytes]) -> int:
        """Create an object: one put when it is short, else a multipart upload."""
        size = 0
        parts = _parts(blocks)
        with answered(f"write {key}"):
            try:
                first = next(parts)
                size = len(first)
                if size < _PART_BYTES:
                    self._client.put_object(
                        Bucket=self._bucket, Key=key, Body=first, IfNoneMatch="*"
                    )
                    return size
                with PartUpload(self._client, self._bucket, key) as upload:
                    upload.put(first)
                    for part in filter(None, parts):
                        upload.put(part)
                        size += len(part)
                    upload.complete()
                return size
            except ClientError as exc:
                if error_code(exc) not in _TAKEN:
                    raise
        return self._there(key, size)

    def remove(self, folder: str) -> int:
        """Remove all versions of all objects of a folder, and the marks of those removed before."""
        if not folder.endswith("/"):
            raise ValueError(f"{folder!r} is not a folder: it does not end with a slash")
        pages, removed = self._client.get_paginator("list_object_versions"), 0
        with answered(f"remove {folder}"):
            for page in pages.paginate(Bucket=self._bucket, Prefix=folder):
                found: list[ObjectIdentifierTypeDef] = [
                    {"Key": one["Key"], "VersionId": one["VersionId"]}
                    for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                ]
                if not found:
                    continue
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": found})
                if failed := answer.get("Errors"):
                    raise Unavailable(f"remove {folder}: {len(failed)} objects are still there")
                removed += len(found)
        return removed

    def _there(self, key: str, size: int) -> int:
        """Somebody wrote it before: the same, going by its name, or at least of the same size."""
        found = next((one for one in self.list(key) if one.key == key), None)
        if found is None:
            raise Unavailable(f"write {key}: another writer was in the way and left nothing")
        if found.size != size:
            raise AlreadyExists(key, same=False)
        return size


def _parts(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks into parts of one size, the last one shorter, and be it empty."""
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= _PART_BYTES:
            yield bytes(held[:_PART_BYTES])
            del held[:_PART_BYTES]
    yield bytes(held)
