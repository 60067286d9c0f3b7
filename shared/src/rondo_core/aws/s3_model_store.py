"""The bucket in S3."""

import base64
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from rondo_core.aws.failures import answered, error_code, pauses
from rondo_core.aws.s3_assembly import Part, PartUpload, check_sizes, copies, first_bytes
from rondo_core.errors import NotFound, Unavailable
from rondo_core.model_store import MIN_PART_BYTES, AlreadyExists, ObjectInfo

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3ModelStore"]

_PUT_BYTES = 2 * MIN_PART_BYTES
"""What is no larger is read and put rather than assembled: fewer calls."""
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_NOT_A_VERSION = "InvalidArgument"
_PAST_THE_END = frozenset({"416", "InvalidRange"})
_TAKEN = frozenset({"412", "PreconditionFailed"})
_BUSY = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})


class S3ModelStore:
    """A ``ModelStore`` in one versioned S3 bucket; thread-safe, as its client is."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, data: bytes | memoryview) -> ObjectInfo:
        """Create an object; S3 checks the digest on arrival."""
        content = data if isinstance(data, bytes) else bytes(data)
        digest = hashlib.sha256(content)
        if len(content) > MIN_PART_BYTES and self.head(key) is not None:
            # Do not send megabytes only to hear that they are there; LocalStack, which refuses
            # before it has read them, lets go of the connection instead of answering.
            return self._same(key, digest.hexdigest(), len(content))
        for _ in pauses():
            with answered(f"put {key}"):
                try:
                    answer = self._client.put_object(
                        Bucket=self._bucket,
                        Key=key,
                        Body=content,
                        ChecksumSHA256=base64.b64encode(digest.digest()).decode(),
                        IfNoneMatch="*",
                    )
                except ClientError as exc:
                    if error_code(exc) in _BUSY:
                        continue
                    if error_code(exc) not in _TAKEN:
                        raise
                    return self._same(key, digest.hexdigest(), len(content))
            return ObjectInfo(len(content), digest.hexdigest(), answer.get("VersionId", "null"))
        raise Unavailable(f"put {key}: another writer was in the way every time")

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str | None = None
    ) -> bytes:
        """Return bytes ``[start, stop)``; what lies past the end is not there, as in a slice."""
        if stop is not None and stop <= start:  # S3 has no empty range: read a byte, give none
            return self.get(key, start=start, stop=start + 1, version=version)[:0]
        request: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        if version is not None:
            request["VersionId"] = version
        if start or stop is not None:
            request["Range"] = f"bytes={start}-" + ("" if stop is None else str(stop - 1))
        with answered(f"get {key}"):
            try:
                answer = self._client.get_object(**request)
                # read() compares what came with what was announced, and raises
                content = answer["Body"].read()
            except ClientError as exc:
                if error_code(exc) in _PAST_THE_END:
                    return b""
                if error_code(exc) in _MISSING | {_NOT_A_VERSION}:
                    raise NotFound(f"object {key}" + _of_version(version)) from exc
                raise
        # A server may ignore the range (RFC 9110, 14.2), as one emulator does beside a version.
        ignored = "Range" in request and "ContentRange" not in answer
        return content[start:stop] if ignored else content

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        with answered(f"head {key}"):
            try:
                answer = self._client.head_object(
                    Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"
                )
            except ClientError as exc:
                if error_code(exc) in _MISSING:
                    return None
                raise
        checksum = answer.get("ChecksumSHA256")
        # "…-3" is a checksum of the three parts' checksums, not of the content.
        whole = checksum is not None and "-" not in checksum
        sha256 = base64.b64decode(checksum).hex() if checksum is not None and whole else None
        return ObjectInfo(answer["ContentLength"], sha256, answer.get("VersionId", "null"))

    def assemble(self, key: str, head: bytes, parts: Sequence[str]) -> ObjectInfo:
        """Create an object from others: a multipart upload of copies, or one put when small.

        Raises:
            ValueError: a part but the last is too small to be copied, all too large to be put.
        """
        sources = [self._whole(part) for part in parts]
        total = len(head) + sum(source.stop for source in sources)
        if total <= _PUT_BYTES or not sources:
            return self._put_whole(key, b"".join((head, *(self.get(part) for part in parts))))
        check_sizes(sources)
        with answered(f"assemble {key}"):
            try:
                return ObjectInfo(total, None, self._upload(key, head, sources))
            except ClientError as exc:
                if error_code(exc) not in _TAKEN | _BUSY:
                    raise
        return self._of_size(key, total)

    def _upload(self, key: str, head: bytes, sources: Sequence[Part]) -> str:
        taken = first_bytes(sources[0], alone=len(sources) == 1)
        first = self.get(sources[0].key, stop=taken)
        with PartUpload(self._client, self._bucket, key) as upload:
            upload.put(head + first)
            upload.copy(copies(sources, taken))
            return upload.complete()

    def _whole(self, key: str) -> Part:
        info = self.head(key)
        if info is None:
            raise NotFound(f"object {key}")
        return Part(key, 0, info.size)

    def _put_whole(self, key: str, content: bytes) -> ObjectInfo:
        try:
            return self.put(key, content)
        except AlreadyExists:
            return self._of_size(key, len(content))

    def _of_size(self, key: str, size: int) -> ObjectInfo:
        info = self.head(key)
        if info is None:
            raise Unavailable(f"assemble {key}: another writer was in the way and left nothing")
        if info.size != size:
            raise AlreadyExists(key, same=False)
        return info

    def _same(self, key: str, sha256: str, size: int) -> ObjectInfo:
        """Compare what is there with what was to be written: it may be our own lost answer."""
        info = self.head(key)
        if info is None:
            raise Unavailable(f"put {key}: refused as existing, yet it does not exist")
        held = info.sha256
        if held is None and info.size == size:
            held = hashlib.sha256(self.get(key, version=info.version)).hexdigest()
        if held != sha256:
            raise AlreadyExists(key, same=False)
        return info


def _of_version(version: str | None) -> str:
    return "" if version is None else f" version {version}"
