"""Values of the wire: tensors, arrays in files, media types, traces, traffic."""

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondo_core.errors import Invalid, RowInvalid
from rondo_core.input_schema import ImageInput
from rondo_core.model_layers import Dense, Flatten
from rondo_core.model_spec import ModelSpec
from rondo_core.output_schema import Classes
from rondo_inference.contracts.pictures import PixelBudget, decode_pictures
from rondo_inference.domain.csv_rows import decode_csv, decode_plain_csv, plain_csv
from rondo_inference.domain.negotiation import negotiated
from rondo_inference.domain.npy import decode_npy, decode_npz, encode_npy, encode_npz
from rondo_inference.domain.oip import Infer, WantedOutput
from rondo_inference.domain.oip_answer import Told, encode_infer
from rondo_inference.domain.row_faults import MOST_FAULTS, RowFaults
from rondo_inference.domain.tensor_bodies import decode_tensors_body, encode_tensors
from rondo_inference.domain.tensor_json import (
    decode_json,
    encode_json,
    tensor_from_json,
    tensor_to_json,
)
from rondo_inference.domain.tensors import (
    DTYPES,
    Signature,
    TensorInfo,
    datatype_of,
    decode_raw,
    rows_of,
)
from rondo_inference.domain.trace import trace_id
from rondo_inference.domain.traffic import Traffic
from tests.unit.rondo_inference.asked import CountedThreads, Service, running
from tests.unit.rondo_inference.exported import PRICES, identity_onnx, shapes_export, write_onnx
from tests.unit.rondo_inference.test_inference_sagemaker import picture

NPY = "application/x-npy"
NPZ = "application/x-npz"


def one(kind: str = "FP32", shape: tuple[int, ...] = (-1, -1)) -> Signature:
    return Signature((TensorInfo("x", kind, shape),), (TensorInfo("y", kind, shape),))


def floats(*rows: Any) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.array(rows, np.float32)


# --- tensors --------------------------------------------------------------------------------------


def test_a_dtype_without_a_name_is_refused() -> None:
    with pytest.raises(Invalid, match="complex128 is none of"):
        datatype_of(np.dtype(complex))


def test_a_scalar_is_one_row() -> None:
    assert rows_of((np.array(1.0),)) == 1


def test_an_empty_list_is_a_tensor_of_any_type() -> None:
    assert tensor_from_json("x", "INT8", []).dtype == np.int8
    with pytest.raises(Invalid, match="not a tensor of INT8"):
        tensor_from_json("x", "INT8", np.array([], "U1").tolist() or "")


def test_numbers_that_are_too_large_are_refused() -> None:
    with pytest.raises(Invalid, match="not a tensor of UINT64"):
        tensor_from_json("x", "UINT64", [2**65, 1])
    with pytest.raises(Invalid, match="not a tensor of UINT64"):
        tensor_from_json("x", "UINT64", [0.5])
    with pytest.raises(Invalid, match="ragged, or too large"):
        tensor_from_json("x", "FP32", [[1], 2])
    assert tensor_from_json("x", "BOOL", [0, 1]).tolist() == [False, True]
    with pytest.raises(Invalid, match="300 does not fit into UINT8"):
        tensor_from_json("x", "UINT8", [1, 300])
    assert tensor_from_json("x", "UINT64", [[2**64 - 1, 0]]).tolist() == [[2**64 - 1, 0]]


def test_a_long_value_is_shown_short() -> None:
    with pytest.raises(Invalid, match="…") as caught:
        tensor_from_json("x", "FP32", ["long" * 100])

    assert len(str(caught.value)) < 120


def test_ragged_bytes_are_refused() -> None:
    with pytest.raises(Invalid, match=r"ragged: lists of \[1, 2\] values"):
        tensor_from_json("x", "BYTES", [["a"], ["b", "c"]])
    with pytest.raises(Invalid, match="not a tensor of BYTES"):
        tensor_from_json("x", "BYTES", [3])


def test_bytes_go_out_as_text_or_base64_in_their_shape() -> None:
    tensor = np.array([[b"a", b"\xff"]], object)

    assert tensor_to_json("y", tensor) == [["a", {"b64": "/w=="}]]
    assert tensor_to_json("y", np.array(b"a", object)) == "a"


def test_a_real_null_is_not_a_number() -> None:
    assert encode_json({"a": None}) == b'{"a":null}'
    assert encode_json([float("nan"), None]) == b"[NaN,null]"


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b" ", "is empty"),
        (b"3", "neither an object nor a list"),
        (b'{"instances": 3}', "not a list of instances"),
        (b'{"instances": []}', "is empty"),
        (b"{", "not JSON"),
        (b'{"instances": [[1]], "signature_name": []}', r"signature \[\]"),
    ],
)
def test_malformed_bodies_of_tensors_are_refused(body: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        decode_tensors_body(body, one(), "serving_default")


def test_outputs_without_common_rows_are_answered_by_column_only() -> None:
    infos = (TensorInfo("a", "FP32", (-1,)), TensorInfo("b", "FP32", (1,)))
    signature = Signature(infos, infos)
    outputs = (floats(1, 2), floats(3))

    by_column = encode_tensors(signature, outputs, by_column=True)

    assert json.loads(by_column) == {"outputs": {"a": [1, 2], "b": [3]}}
    with pytest.raises(Invalid, match="no common rows"):
        encode_tensors(signature, outputs, by_column=False)


def test_an_output_that_is_no_text_is_binary_only() -> None:
    outputs = (np.array([b"\xff"], object),)
    request = Infer({}, [WantedOutput(0, binary=False)])

    with pytest.raises(Invalid, match="binary_data"):
        encode_infer(Told("m", "1"), request, one("BYTES", (-1,)), outputs)


# --- files ----------------------------------------------------------------------------------------


def test_arrays_of_text_are_bytes_both_ways() -> None:
    for array in (np.array(["a", "é"]), np.array([b"a", "é".encode()])):
        assert decode_npy(encode_npy(array)).tolist() == [b"a", "é".encode()]
    assert decode_npy(encode_npy(np.array([b"a"], object))).tolist() == [b"a"]


def test_text_that_is_no_unicode_is_refused() -> None:
    broken = encode_npy(np.array(["a"])).replace(b"a\0\0\0", b"\0\xd8\0\0")

    with pytest.raises(Invalid, match="not Unicode"):
        decode_npy(broken)


@pytest.mark.parametrize("shape", [(2**62, 2**62, 0), (65_537, 0), (1,) * 40])
def test_an_array_of_an_impossible_shape_is_refused(shape: tuple[int, ...]) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 0), np.float32))
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header | {"shape": shape})

    with pytest.raises(Invalid, match=r"the \.npy file: shape "):
        decode_npy(file.getvalue())


def test_arrays_in_the_order_of_fortran_and_big_endian_are_read() -> None:
    array = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    file = io.BytesIO()
    np.save(file, array)

    found = decode_npy(file.getvalue())

    assert found.tolist() == array.tolist()
    assert found.dtype == np.dtype("<i4")


ODDS = st.one_of(
    st.floats(width=32), st.integers(-(2**53), 2**53), st.booleans(), st.none(), st.text(max_size=2)
)


@given(st.recursive(ODDS, lambda one: st.lists(one, max_size=3), max_leaves=12))
def test_numbers_in_json_become_what_numpy_makes_of_them(value: object) -> None:
    try:
        known = np.array(value)
    except ValueError:
        known = np.array([""])
    fits = known.dtype.kind in ("fiub" if known.size == 0 else "fiu")

    if fits:
        found = tensor_from_json("x", "FP32", value)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(known.astype(np.float32), found)
    else:
        with pytest.raises(Invalid):
            tensor_from_json("x", "FP32", value)


def test_a_member_that_is_longer_than_the_archive_says_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", encode_npy(floats(1, 2, 3)))
    size = len(encode_npy(floats(1, 2, 3)))

    for said in (size - 4, size + 4):
        lied = file.getvalue().replace(size.to_bytes(4, "little"), said.to_bytes(4, "little"))
        with pytest.raises(Invalid):
            decode_npz(lied, max_bytes=10_000)


def test_an_archive_whose_member_is_shorter_than_its_directory_says_is_refused() -> None:
    whole, file = encode_npy(floats(1, 2, 3)), io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", whole[:-4])
    short, long = (len(whole) - 4).to_bytes(4, "little"), len(whole).to_bytes(4, "little")
    lied = file.getvalue().replace(short, long)

    with pytest.raises(Invalid, match=r"x.npy is not as long as the archive says"):
        decode_npz(lied, max_bytes=10_000)


@pytest.mark.parametrize(
    ("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")]
)
def test_archives_whose_packing_hides_large_arrays_are_refused_by_name(
    method: int, name: str
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("x.npy", encode_npy(floats(*range(100))))

    with pytest.raises(Invalid, match=f"x.npy is packed by {name}, not stored or deflated"):
        decode_npz(file.getvalue(), max_bytes=10_000)


def test_a_directory_of_too_many_members_is_refused_before_it_is_walked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(4097):
            archive.writestr(f"{number}.npy", b"")
    cut = file.getvalue()[:-1]  # whoever walks it finds that it is none

    with pytest.raises(Invalid, match=r"the .npz file has 4097 arrays, over 4096"):
        decode_npz(cut, max_bytes=10_000)


def test_what_an_archive_unpacks_to_is_bounded_by_the_body_that_is_allowed(
    samples: Service,
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", encode_npy(np.zeros((3000, 1), np.float32)))

    reply = samples.ask("POST", "/invocations?model=floats", file.getvalue(), content_type=NPZ)

    assert (reply.status, reply.json) == (
        400, {"error": "the .npz file unpacks to 12128 bytes, over 10000"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name", "array", "error"),
    [
        ("floats", "x", np.array([["a"]]), "array 'x' is text, the model takes FP32"),
        ("words", "x", np.zeros((1, 1)), "array 'x' is numbers, the model takes BYTES"),
        ("words", "x", np.zeros(700, "S1"), "array 'x' has 700 elements, too many"),
        ("floats", "x", np.zeros(2), "array 'x' has shape [2], the model takes [-1, -1]"),
        ("prices", "columns", np.zeros((2, 3)), "has shape [2, 3], the model takes [-1, 2]"),
        ("prices", "rooms", np.zeros(700, np.uint8), "array 'rooms' has 700 elements, too many"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused_by_their_headers(
    samples: Service, model: str, name: str, array: Any, error: str
) -> None:
    path = f"/invocations?model={model}"

    reply = samples.ask("POST", path, encode_npz({name: array}), content_type=NPZ)

    assert reply.status == 400
    assert error in reply.json["error"]


def test_the_header_of_a_member_is_asked_before_the_rest_is_unpacked() -> None:
    data = encode_npz({"x": floats(*[1.0] * 10_000)})
    damaged = data.replace(np.float32(1).tobytes() * 9000, np.float32(2).tobytes() * 9000)

    def refuse(name: str, dtype: object, shape: tuple[int, ...]) -> None:
        raise Invalid(f"{name} {dtype} {shape}")

    with pytest.raises(Invalid, match=r"x float32 \(10000,\)"):
        decode_npz(damaged, max_bytes=10**6, check=refuse)
    with pytest.raises(Invalid, match="CRC"):
        decode_npz(damaged, max_bytes=10**6)


def test_tables_are_read_column_by_column_from_an_archive(samples: Service) -> None:
    body = encode_npz({"rooms": np.array([3]), "town": np.array(["Bonn"])})

    assert samples.ask("POST", "/invocations?model=prices", body, content_type=NPZ).status == 200


def test_short_bodies_that_become_large_are_read_in_other_threads(samples: Service) -> None:
    body = encode_npz({"x": floats([1.0])})
    with CountedThreads(1) as threads:
        samples.app.readers = threads
        plain = samples.ask("POST", "/invocations?model=floats", b"[[1]]")
        alone = threads.given
        packed = samples.ask("POST", "/invocations?model=floats", body, content_type=NPZ)

    assert (plain.status, alone) == (200, 0)
    assert (packed.status, threads.given) == (200, 1)


@pytest.mark.parametrize(
    ("signature", "body", "values"),
    [
        (one(shape=(-1,)), b"1\n2\n", [1, 2]),
        (one(shape=(-1, 2, 1)), b"1,2\n3,4\n", [[[1], [2]], [[3], [4]]]),
        (one(), b"1,2\n", [[1, 2]]),
        (one("BYTES"), b"a,b\n", [[b"a", b"b"]]),
    ],
)
def test_a_csv_of_tensors_is_read(signature: Signature, body: bytes, values: object) -> None:
    assert decode_plain_csv(body, signature).tolist() == values


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        (Signature(one().inputs * 2, one().outputs), b"1\n"),
        (one(), b""),
        (one(), b"1,2\n3\n"),
        (one(), b"a\n"),
        (one("BYTES"), b"a,b\nc\n"),
        (one(shape=(-1, 2, 1)), b"1\n"),
    ],
)
def test_a_csv_that_is_no_tensor_is_refused(signature: Signature, body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_plain_csv(body, signature)


def test_outputs_that_are_no_table_have_no_csv() -> None:
    assert plain_csv(one("BYTES", (-1,)), (np.array([b"a", b"\xff"], object),)) == b"y\na\n/w==\n"
    with pytest.raises(Invalid, match="is no table"):
        plain_csv(one(), (np.zeros((1, 2, 3), np.float32),))


def test_words_in_a_first_line_are_not_values() -> None:
    with pytest.raises(Invalid, match="header lacks"):
        decode_csv(b"x,Bonn\n1,Aa\n", PRICES)


def test_no_more_faults_are_told_than_people_read() -> None:
    body = b"rooms,town\n" + b"x,Aa\n" * (MOST_FAULTS + 5)

    with pytest.raises(RowFaults) as caught:
        decode_csv(body, PRICES)

    assert len(caught.value.faults) == MOST_FAULTS


def test_rows_that_only_differ_in_kind_are_told_too() -> None:
    with pytest.raises(RowFaults, match="row 1"):
        decode_csv(b'rooms,town\n3,Bonn\n,"Aa"\n', PRICES)


@pytest.mark.parametrize(
    ("model", "body", "kind", "status"),
    [
        ("words", encode_npy(np.zeros(2)), NPY, 400),
        ("floats", encode_npy(np.array([["a"]])), NPY, 400),
        ("floats", encode_npy(np.ones((2, 3))), NPY, 200),
        ("identity", encode_npy(np.ones((2, 3))), NPY, 400),
        ("prices", encode_npy(np.ones((2, 3))), NPY, 400),
        ("prices", encode_npy(np.array(1.0)), NPY, 400),
        ("shapes", encode_npy(np.zeros((3, 4), np.uint8)), NPY, 200),
        ("floats", b"[1]\n[2]\n", "application/jsonlines", 200),
        ("floats", b"\n", "application/jsonlines", 400),
    ],
)
def test_arrays_become_what_a_model_takes_or_are_refused(
    samples: Service, model: str, body: bytes, kind: str, status: int
) -> None:
    reply = samples.ask("POST", f"/invocations?model={model}", body, content_type=kind)

    assert reply.status == status


def test_inputs_with_different_numbers_of_rows_are_refused(samples: Service) -> None:
    columns: dict[str, Any] = {f"IN_{kind}": [[1]] for kind in DTYPES}
    columns |= {"IN_BYTES": [["1"], ["2"]], "IN_BOOL": [[True]]}

    reply = samples.ask("POST", "/v1/models/identity:predict", {"inputs": columns})

    assert reply.status == 400
    assert "different numbers of rows" in reply.json["error"]
    assert "'IN_BYTES' has 2" in reply.json["error"]


def test_integers_of_another_width_fit_or_are_refused(tmp_path: Path) -> None:
    write_onnx(tmp_path, "small", identity_onnx("INT8"))
    with running(models=tmp_path) as service:
        statuses = [
            service.ask("POST", "/invocations", encode_npy(np.array([[n]])), content_type=NPY)
            for n in (127, 128)
        ]

    assert [reply.status for reply in statuses] == [200, 400]


def test_several_outputs_are_no_single_array(samples: Service) -> None:
    row: dict[str, Any] = {
        f"IN_{kind}": ["1"] if kind == "BYTES" else [kind == "BOOL"] for kind in DTYPES
    }
    row |= {f"IN_{kind}": [1] for kind in DTYPES if kind not in {"BYTES", "BOOL"}}
    body = json.dumps({"instances": [row]}).encode()
    path = "/invocations?model=identity"

    one_array = samples.ask("POST", path, body, accept=NPY)
    archive = samples.ask("POST", path, body, accept="application/x-npz")
    table = samples.ask("POST", path, body, accept="text/csv")

    assert (one_array.status, archive.status, table.status) == (406, 200, 200)
    assert sorted(decode_npz(archive.body, max_bytes=10**6)) == sorted(f"OUT_{k}" for k in DTYPES)


@pytest.mark.parametrize(
    ("sides", "body", "status"),
    [((2, 2), b"0" * 16, 200), ((2, 2), b"0" * 12, 400), (("n", 2, "m"), b"0" * 16, 200),
     (("n", "k", "m"), b"0" * 16, 400), (("n", 0), b"", 200)],
)  # fmt: skip
def test_a_raw_body_has_the_shape_that_its_length_allows(
    tmp_path: Path, sides: tuple[object, ...], body: bytes, status: int
) -> None:
    write_onnx(tmp_path, "m", identity_onnx("FP32", sides=sides))
    with running(models=tmp_path) as service:
        reply = service.ask("POST", "/v2/models/m/infer", body, inference_header_content_length="0")

    assert reply.status == status


def test_a_truth_is_a_byte_0_or_1() -> None:
    assert decode_raw("x", "BOOL", [2], b"\x00\x01").tolist() == [False, True]
    with pytest.raises(Invalid, match="a byte 0 or 1"):
        decode_raw("x", "BOOL", [1], b"\x02")


def test_json_with_bare_words_may_still_be_malformed(samples: Service) -> None:
    deep = b'{"instances": NaN, "x": ' + b"[" * 100_000
    missing = {"inputs": [{"name": "IN_BOOL", "datatype": "BOOL", "shape": [1, 1], "data": [True]}]}

    refused = [
        samples.ask("POST", "/v2/models/floats/infer", b'{"inputs": NaN}').status,
        samples.ask("POST", "/v2/models/floats/infer", b'{"inputs": [NaN, {"name": "x"}]}').status,
        samples.ask("POST", "/v2/models/floats/infer", b"[NaN]").status,
        samples.ask("POST", "/v2/models/identity/infer", missing).status,
    ]
    with pytest.raises(Invalid, match="nested too deeply"):
        decode_json(deep)

    assert refused == [400] * 4


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        ("a/*;q=x, b/c;q=0.1", "b/c"),
        ("a/b;q=0, */*", "b/c"),
        ("a/b;level=1", "a/b"),
        ("c/d", None),
    ],
)
def test_the_most_wanted_type_answers(accept: str, found: str | None) -> None:
    assert negotiated(accept, ("a/b", "b/c")) == found


@pytest.mark.parametrize(
    "header",
    ["", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"],
)
def test_a_malformed_trace_is_none(header: str) -> None:
    assert trace_id(header) is None


def test_rounding_leaves_no_request_without_a_label() -> None:
    class Heavy(dict[str, float]):
        def values(self) -> Any:
            return [4.0]

    assert Traffic(Heavy(a=1.0)).label("222") == "a"


# --- pictures -------------------------------------------------------------------------------------


def scans(channels: int = 1, minimum: float = 0, maximum: float = 1) -> ModelSpec:
    return ModelSpec(
        model="scans",
        input=ImageInput(height=2, width=2, channels=channels, minimum=minimum, maximum=maximum),
        layers=(Flatten(name="flat"), Dense(name="head", units=2, activation="softmax")),
        output=Classes(labels=("a", "b")),
        loss="sparse_categorical_crossentropy",
    )


def test_brightness_becomes_the_range_of_the_spec() -> None:
    found = decode_pictures(scans(minimum=-1), [picture(value=255)], fit="refuse")

    assert found.ravel().tolist() == [1, 1, 1, 1]


def test_a_grey_picture_becomes_coloured_where_the_model_wants_colours() -> None:
    assert decode_pictures(scans(3), [picture()], fit="refuse").shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("spec", "files", "text"),
    [
        (None, [picture()], "takes no pictures"),
        (PRICES, [picture()], "takes no pictures"),
        (scans(), [], "there is no picture"),
        (scans(7), [picture()], "no 7 channels"),
        (scans(), [picture(size=(10_000, 7_000))], "is over 67108864 pixels"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(
    spec: ModelSpec | None, files: list[bytes], text: str
) -> None:
    with pytest.raises(Invalid, match=text):
        decode_pictures(spec, files, fit="refuse")


def test_the_pixels_of_all_pictures_of_a_request_are_counted_before_they_are_read() -> None:
    large, small, broken = picture(size=(4, 4)), picture(size=(1, 1)), picture(size=(9, 9))[:60]
    budget = PixelBudget(left=24)

    decode_pictures(scans(), [large, small], fit="resize", budget=budget)
    with pytest.raises(RowInvalid, match="a picture of 9 x 9 is over 67108864 pixels, with those"):
        decode_pictures(scans(), [small, broken], fit="resize", budget=budget)

    assert budget.left == 24 - 16 - 4 - 4  # a small one becomes as large as the model's


def test_pictures_are_base64_in_json_too() -> None:
    text = base64.b64encode(picture()).decode()
    with running() as service:
        service.serve(shapes_export())

        def ask(body: object) -> tuple[int, Any]:
            path = "/v1/models/shapes:predict"
            reply = service.ask("POST", path, json.dumps(body).encode())
            return reply.status, reply.json

        bare = ask([{"b64": text}])
        named = ask({"instances": [{"image": {"b64": text}}, {"b64": text}]})
        mixed = ask({"instances": [{"b64": text}, [0, 0, 0, 0]]})
        columns = ask({"inputs": {"b64": text}})

    assert bare == (200, {"predictions": [[0.5, 0.5]]})
    assert named == (200, {"predictions": [[0.5, 0.5]] * 2})
    assert (mixed[0], columns[0]) == (400, 400)


def test_the_one_wrong_row_of_many_is_found() -> None:
    body = b"rooms,town\n" + b"1,Aa\n" * 600 + b"1,Cc\n" + b"2,Bonn\n" * 600

    with pytest.raises(RowFaults) as caught:
        decode_csv(body, PRICES)

    assert [(one.row, one.column) for one in caught.value.faults] == [(600, "town")]
