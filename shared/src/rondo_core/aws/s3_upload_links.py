"""Presigned URLs of S3."""

import base64
from typing import TYPE_CHECKING

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

    def for_upload(self, key: str, *, size: int, sha256: str, expires_seconds: int) -> UploadLink:
        """Return a link bound to exact length, SHA-256 and create-once."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ContentLength": size,
                "ChecksumSHA256": checksum,
                "IfNoneMatch": "*",
            },
            ExpiresIn=expires_seconds,
        )
        headers = {
            "Content-Length": str(size),
            "If-None-Match": "*",
            "x-amz-checksum-sha256": checksum,
        }
        return UploadLink(url, headers)

    def for_download(self, key: str, *, expires_seconds: int) -> str:
        """Return a URL that reads one object."""
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_seconds
        )
