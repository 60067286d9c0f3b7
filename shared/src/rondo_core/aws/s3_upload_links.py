"""Presigned URLs of S3."""

import base64
from typing import TYPE_CHECKING, Any

from rondo_core.aws.failures import answered
from rondo_core.model_store import UploadLink

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3UploadLinks"]


class S3UploadLinks:
    """An ``UploadLinks`` of SigV4 URLs, which sign every header that limits the upload.

    Args:
        client: made with ``signature_version="s3v4"`` (boto3's default signs no header at all) and
            the store's address as those who get the links reach it, since the host is signed too.
        bucket: the bucket's name.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def for_upload(
        self, key: str, *, size: int, sha256: str | None, expires_seconds: int
    ) -> UploadLink:
        """Return a link bound to exact length, create-once and, where it is known, SHA-256."""
        promise: dict[str, Any] = {"ContentLength": size, "IfNoneMatch": "*"}
        headers = {"Content-Length": str(size), "If-None-Match": "*"}
        if sha256 is not None:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
            promise["ChecksumSHA256"] = headers["x-amz-checksum-sha256"] = checksum
        url = self._presigned("put_object", {"Key": key, **promise}, expires_seconds)
        return UploadLink(url, headers)

    def for_download(self, key: str, *, expires_seconds: int) -> str:
        """Return a URL that reads one object."""
        return self._presigned("get_object", {"Key": key}, expires_seconds)

    def _presigned(self, method: str, promise: dict[str, Any], seconds: int) -> str:
        with answered(f"sign a link to {promise['Key']}"):
            return self._client.generate_presigned_url(
                method, Params={"Bucket": self._bucket, **promise}, ExpiresIn=seconds
            )
