import hashlib

import msgspec
import pytest

from rondo_core.exports import (
    GOLDEN_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    ExportFile,
    ExportIndex,
    ExportInvalid,
    Tolerance,
    encode_export_index,
    export_file,
    export_file_key,
    export_index_key,
    format_of,
    parse_export_index,
    verified,
)

INDEX = ExportIndex(
    model="digits",
    spec="a" * 64,
    weights="b" * 64,
    input="image",
    output="probabilities",
    tolerance=Tolerance(absolute=1e-6, relative=1e-5),
    files={ONNX_FILE: export_file(b"onnx"), GOLDEN_FILE: export_file(b"golden")},
)


def test_an_index_comes_back_as_it_was_written() -> None:
    assert parse_export_index(encode_export_index(INDEX)) == INDEX


def test_the_same_files_in_another_order_give_the_same_bytes() -> None:
    other = msgspec.structs.replace(INDEX, files=dict(reversed(INDEX.files.items())))

    assert encode_export_index(other) == encode_export_index(INDEX)


def test_a_file_is_described_by_its_digest_and_size() -> None:
    assert export_file(b"onnx") == ExportFile(sha256=hashlib.sha256(b"onnx").hexdigest(), size=4)


def test_two_exports_of_one_version_never_meet_on_a_key() -> None:
    again = msgspec.structs.replace(
        INDEX, files={**INDEX.files, ONNX_FILE: export_file(b"the same graph, other names")}
    )

    keys = {export_file_key(index, ONNX_FILE) for index in (INDEX, again)}

    assert len(keys) == 2
    assert all(key.startswith(f"exports/{'b' * 64}/") for key in keys)


def test_the_index_is_named_by_weights_and_its_own_digest() -> None:
    assert export_index_key("b" * 64, "c" * 64) == f"exports/{'b' * 64}/{'c' * 64}/export.json"


def test_a_file_that_is_not_in_the_export_has_no_key() -> None:
    with pytest.raises(ExportInvalid, match=r"no file 'model\.tflite' among"):
        export_file_key(INDEX, "model.tflite")


@pytest.mark.parametrize("missing", [ONNX_FILE, GOLDEN_FILE])
def test_an_index_without_a_file_that_every_reader_needs_is_refused(missing: str) -> None:
    files = {name: file for name, file in INDEX.files.items() if name != missing}
    data = encode_export_index(msgspec.structs.replace(INDEX, files=files))

    with pytest.raises(ExportInvalid, match=f"no file '{missing}' among"):
        parse_export_index(data)


@pytest.mark.parametrize("name", ["../other", "/etc/passwd", "a//b", ".hidden", ""])
def test_a_file_name_that_leaves_the_export_is_refused(name: str) -> None:
    files = {**INDEX.files, name: export_file(b"")}
    data = encode_export_index(msgspec.structs.replace(INDEX, files=files))

    with pytest.raises(ExportInvalid, match=r"export\.json: Expected `str` matching regex"):
        parse_export_index(data)


def test_weights_apart_make_the_format_one_that_older_readers_refuse() -> None:
    apart = {**INDEX.files, WEIGHTS_FILE: export_file(b"weights")}
    index = msgspec.structs.replace(INDEX, format=format_of(apart), files=apart)

    assert (INDEX.format, format_of(INDEX.files)) == (1, 1)
    assert b'"format":2' in encode_export_index(index)
    assert parse_export_index(encode_export_index(index)) == index


def test_an_index_of_a_later_format_is_refused() -> None:
    with pytest.raises(ExportInvalid, match="format"):
        parse_export_index(encode_export_index(INDEX).replace(b'"format":1', b'"format":3'))


def test_bytes_with_the_promised_digest_are_handed_back() -> None:
    data = b"onnx"

    assert verified(data, name=ONNX_FILE, sha256=export_file(data).sha256) is data


def test_bytes_with_another_digest_are_refused_by_name() -> None:
    with pytest.raises(ExportInvalid, match=r"model\.onnx: 4 bytes with SHA-256"):
        verified(b"onny", name=ONNX_FILE, sha256=export_file(b"onnx").sha256)
