"""An object made of others inside S3, by a multipart upload of copies."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rondo_core.model_store import MIN_PART_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

__all__ = ["Part", "PartUpload", "check_sizes", "copies", "first_bytes"]

_COPIES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``[start, stop)`` of an object that is to become part of another."""

    key: str
    start: int
    stop: int


def check_sizes(parts: Sequence[Part]) -> None:
    """Refuse what S3 would refuse at the very end.

    Raises:
        ValueError: a part but the last is too small.
    """
    for part in parts[:-1]:
        if part.stop - part.start < MIN_PART_BYTES:
            size = part.stop - part.start
            raise ValueError(f"{part.key}: {size} bytes; a part but the last has {MIN_PART_BYTES}")


def first_bytes(first: Part, *, alone: bool) -> int:
    """Return how much of the first object is read and uploaded behind the head.

    Just enough to be a part of its own, unless the rest would then be too small to be one.

    >>> first_bytes(Part("a", 0, 20 * 1024 * 1024), alone=False) == MIN_PART_BYTES
    True
    >>> first_bytes(Part("a", 0, 6 * 1024 * 1024), alone=False)
    6291456
    """
    size = first.stop - first.start
    rest = size - MIN_PART_BYTES
    return MIN_PART_BYTES if rest >= MIN_PART_BYTES or (alone and rest > 0) else size


def copies(parts: Sequence[Part], taken: int) -> list[Part]:
    """Return what is left to copy when ``taken`` bytes of the first object are uploaded already."""
    first = parts[0]
    rest = [Part(first.key, first.start + taken, first.stop)]
    return [part for part in (*rest, *parts[1:]) if part.stop > part.start]


class PartUpload:
    """One multipart upload; a context manager that gives it up when its block raises."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._id = ""
        self._done: list[CompletedPartTypeDef] = []

    def __enter__(self) -> Self:
        answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
        self._id = answer["UploadId"]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._id
            )

    def put(self, body: bytes) -> None:
        """Upload the next part."""
        number = len(self._done) + 1
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=self._id, PartNumber=number, Body=body
        )
        self._done.append({"PartNumber": number, "ETag": answer["ETag"]})

    def copy(self, parts: Sequence[Part]) -> None:
        """Copy the other parts, several at once."""
        with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
            self._done += pool.map(self._copy, parts, range(2, 2 + len(parts)))

    def complete(self) -> str:
        """Make the object, if there is none of that name, and return its version id."""
        answer = self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": self._done},
            IfNoneMatch="*",
        )
        return answer.get("VersionId", "null")

    def _copy(self, part: Part, number: int) -> "CompletedPartTypeDef":
        answer = self._client.upload_part_copy(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._id,
            PartNumber=number,
            CopySource={"Bucket": self._bucket, "Key": part.key},
            CopySourceRange=f"bytes={part.start}-{part.stop - 1}",
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}
