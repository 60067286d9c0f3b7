"""The suite that every ``UploadLinks`` passes, over HTTP where there is HTTP."""

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest

from rondo_core.model_store import UploadLink
from tests.contract.harness import Harness

DATA = b"a client's update" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def key(name: str) -> str:
    return f"updates/{name}/000001/01/hospital-a/{SHA256}"


@pytest.fixture
def link(ports: Harness, key: str) -> UploadLink:
    return ports.links.for_upload(key, size=len(DATA), sha256=SHA256, expires_seconds=60)


def test_put_of_the_promised_bytes_creates_the_object(
    ports: Harness, key: str, link: UploadLink
) -> None:
    assert ports.put(link.url, link.headers, DATA) == 200

    info = ports.model_store.head(key)
    assert info is not None
    assert (info.size, info.sha256) == (len(DATA), SHA256)
    assert ports.model_store.get(key) == DATA


def test_link_names_exactly_the_headers_that_it_signs(link: UploadLink) -> None:
    assert {name.lower() for name in link.headers} == {
        "content-length",
        "if-none-match",
        "x-amz-checksum-sha256",
    }


def test_aws_link_signs_them_with_the_host(link: UploadLink) -> None:
    query = parse_qs(urlsplit(link.url).query)
    if "X-Amz-SignedHeaders" not in query:
        pytest.skip("the fake signs in its own way")

    signed = query["X-Amz-SignedHeaders"][0].split(";")
    assert signed == ["content-length", "host", "if-none-match", "x-amz-checksum-sha256"]


def test_second_put_is_refused(ports: Harness, key: str, link: UploadLink) -> None:
    ports.put(link.url, link.headers, DATA)
    first = ports.model_store.head(key)

    assert ports.put(link.url, link.headers, DATA) == 412
    assert ports.model_store.head(key) == first


def test_other_bytes_of_the_same_length_are_refused(
    ports: Harness, key: str, link: UploadLink
) -> None:
    assert ports.put(link.url, link.headers, DATA[::-1]) == 400
    assert ports.model_store.head(key) is None


@pytest.mark.parametrize("data", [DATA + b"x", DATA[:-1], b""], ids=["longer", "shorter", "empty"])
def test_another_length_is_refused(ports: Harness, key: str, link: UploadLink, data: bytes) -> None:
    headers = {**link.headers, "Content-Length": str(len(data))}

    assert ports.put(link.url, headers, data) == 403
    assert ports.model_store.head(key) is None


@pytest.mark.parametrize("header", ["If-None-Match", "x-amz-checksum-sha256"])
def test_missing_signed_header_is_refused(
    ports: Harness, key: str, link: UploadLink, header: str
) -> None:
    headers = {name: value for name, value in link.headers.items() if name != header}

    assert ports.put(link.url, headers, DATA) == 403
    assert ports.model_store.head(key) is None


def test_other_checksum_than_the_promised_one_is_refused(
    ports: Harness, key: str, link: UploadLink
) -> None:
    other = ports.links.for_upload(
        key, size=len(DATA), sha256=hashlib.sha256(DATA[::-1]).hexdigest(), expires_seconds=60
    )

    assert ports.put(link.url, other.headers, DATA[::-1]) == 403
    assert ports.model_store.head(key) is None


def test_link_of_one_key_does_not_open_another(ports: Harness, key: str, link: UploadLink) -> None:
    url = link.url.replace("hospital-a", "hospital-b")

    assert ports.put(url, link.headers, DATA) == 403
    assert ports.model_store.head(key.replace("hospital-a", "hospital-b")) is None


def test_link_without_a_digest_takes_any_bytes_of_the_length_once(ports: Harness, key: str) -> None:
    link = ports.links.for_upload(key, size=4, sha256=None, expires_seconds=60)

    assert {name.lower() for name in link.headers} == {"content-length", "if-none-match"}
    assert ports.put(link.url, {**link.headers, "Content-Length": "5"}, b"12345") == 403
    assert ports.put(link.url, link.headers, b"1234") == 200
    assert ports.put(link.url, link.headers, b"4321") == 412
    assert ports.model_store.get(key) == b"1234"


def test_links_expire(ports: Harness, key: str) -> None:
    link = ports.links.for_upload(key, size=len(DATA), sha256=SHA256, expires_seconds=1)
    ports.model_store.put(f"{key}-read", DATA)
    url = ports.links.for_download(f"{key}-read", expires_seconds=1)

    ports.clock.sleep(2.1)

    assert ports.put(link.url, link.headers, DATA) == 403
    assert ports.fetch(url)[0] == 403
    assert ports.model_store.head(key) is None


def test_download_link_reads_its_object(ports: Harness, key: str) -> None:
    ports.model_store.put(key, DATA)

    assert ports.fetch(ports.links.for_download(key, expires_seconds=60)) == (200, DATA)


def test_download_link_of_nothing_is_not_found(ports: Harness, key: str) -> None:
    assert ports.fetch(ports.links.for_download(key, expires_seconds=60))[0] == 404


def test_download_link_does_not_open_another_key(ports: Harness, key: str) -> None:
    ports.model_store.put(key, DATA)
    url = ports.links.for_download(f"{key}-mine", expires_seconds=60)

    assert ports.fetch(url.replace("-mine", ""))[0] == 403


def test_links_of_one_kind_do_not_do_the_other(ports: Harness, key: str, link: UploadLink) -> None:
    download = ports.links.for_download(key, expires_seconds=60)

    assert ports.put(download, link.headers, DATA) == 403
    assert ports.model_store.head(key) is None
    assert ports.fetch(link.url)[0] == 403
