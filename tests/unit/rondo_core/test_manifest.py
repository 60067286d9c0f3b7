import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid
from rondo_core.events import Scalar
from rondo_core.manifest import Manifest, ManifestEntry, decode_manifest, encode_manifest

ENTRY = ManifestEntry(
    client_id="a", sha256="0a" * 32, examples=3, key="updates/r/1/1/a", object_version="v1"
)
MANIFEST = Manifest(
    run_id="r",
    round=1,
    attempt=1,
    base="0b" * 32,
    layout="0c" * 32,
    strategy="fedavg",
    parameters={"momentum": 0.9, "beta": 1},
    updates=(ENTRY,),
)


def test_digest_is_that_of_the_bytes() -> None:
    data, sha256 = encode_manifest(MANIFEST)

    assert sha256 == hashlib.sha256(data).hexdigest()
    assert decode_manifest(data) == MANIFEST


def test_bytes_are_canonical_json() -> None:
    data, _ = encode_manifest(MANIFEST)

    document = json.loads(data)
    assert data.decode() == json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert document["updates"] == [
        {
            "client_id": "a",
            "examples": 3,
            "key": "updates/r/1/1/a",
            "object_version": "v1",
            "sha256": "0a" * 32,
        }
    ]


@given(st.dictionaries(st.text(max_size=5), st.booleans() | st.integers(-9, 9) | st.text()))
def test_order_of_parameters_does_not_matter(parameters: dict[str, Scalar]) -> None:
    one, two = (
        Manifest(
            run_id="r",
            round=1,
            attempt=1,
            base="b",
            layout="l",
            strategy="s",
            parameters=dict(items),
            updates=(),
        )
        for items in (parameters.items(), reversed(parameters.items()))
    )

    assert encode_manifest(one) == encode_manifest(two)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a manifest"),
        (b"\xff", "not a manifest"),
        (b"[]", "not a manifest"),
        (b"{}", "run_id"),
        (encode_manifest(MANIFEST)[0].replace(b'"examples":3', b'"examples":"3"'), "examples"),
        (encode_manifest(MANIFEST)[0].replace(b'{"attempt"', b'{"also":1,"attempt"'), "also"),
    ],
)
def test_document_that_is_not_a_manifest_is_invalid(data: bytes, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        decode_manifest(data)
