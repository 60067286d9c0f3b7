"""What the OpenAPI document says that classify and regress take is what they take."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from rondo_inference.contracts.messages import Request
from rondo_inference.contracts.openapi import Documents
from rondo_inference.domain.npy import encode_npy, encode_npz
from tests.unit.rondo_inference.asked import Service


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, kind)
    return file.getvalue()


def bodies(name: str, row: list[object], csv: str, array: np.ndarray) -> dict[str, bytes]:
    """Return a body of every type that any route reads, and of some that none does."""
    example = dict(zip(name.split(), row, strict=True))
    part = 'Content-Disposition: form-data; name="f"; filename="a.csv"\r\n\r\n'
    return {
        "application/json": json.dumps({"examples": [example]}).encode(),
        "text/csv": csv.encode(),
        "application/jsonlines": json.dumps(example).encode(),
        "application/x-npy": encode_npy(array),
        "application/x-npz": encode_npz({"columns" if len(row) > 1 else "image": array}),
        "multipart/form-data": f"--cut\r\n{part}{csv}\r\n--cut--\r\n".encode(),
        "image/png": picture("PNG"),
        "image/jpeg": picture("JPEG"),
        "image/gif": picture("GIF"),
        "application/pdf": b"%PDF-1.7",
    }


PRICES = bodies("rooms town", [3, "Bonn"], "rooms,town\n3,Bonn\n", np.array([[3.0, 1.0]]))
SHAPES = bodies(
    "image", [[[[0], [0]], [[0], [0]]]], "0,0,0,0\n", np.zeros((1, 2, 2, 1), np.float32)
)


@pytest.mark.parametrize("place", ["", "/versions/{version}", "/labels/{label}"])
@pytest.mark.parametrize(
    ("model", "verb", "sent"), [("prices", "regress", PRICES), ("shapes", "classify", SHAPES)]
)
def test_classify_and_regress_take_what_the_document_says_and_nothing_else(
    samples: Service, model: str, verb: str, sent: dict[str, bytes], place: str
) -> None:
    document = Documents(samples.catalogue, jobs=False, many=False).of(Request(models=(model,)))
    operation = document["paths"][f"/v1/models/{{model}}{place}:{verb}"]["post"]
    version = samples.catalogue.find(model).version
    path = f"/v1/models/{model}{place}:{verb}".format(version=version, label="champion")

    replies = {
        kind: samples.ask("POST", path, body, content_type=f"{kind}; boundary=cut")
        for kind, body in sent.items()
    }

    taken = {kind for kind, reply in replies.items() if reply.status == 200}
    assert taken == set(operation["requestBody"]["content"]), replies
    assert {next(iter(replies[kind].json)) for kind in taken} == {"results"}
