"""Weights that a model keeps in a file of its own, and where engines read them."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rondo_core.errors import NotFound, Unavailable
from rondo_core.exports import (
    ONNX_FILE,
    WEIGHTS_FILE,
    ExportInvalid,
    encode_export_index,
    export_file_key,
    format_of,
)
from rondo_core.testing import MemoryModelStore
from rondo_inference.registry.folder_files import read_folder
from rondo_inference.registry.loader import load_version
from rondo_inference.registry.proving import VersionFiles, proved_engine
from rondo_inference.registry.served import ServedModel
from tests.unit.rondo_inference.asked import running
from tests.unit.rondo_inference.exported import (
    Export,
    apart,
    prices_export,
    prices_onnx,
    write_onnx,
    write_version,
)
from tests.unit.rondo_inference.fakes import batcher_of, onnx_alone

ROWS = {"instances": [[2, "Bonn"]]}
ROW = np.array([[2, 1]], np.float32)


def prices_apart(version: int) -> Export:
    export = prices_export(version)
    for name, data in apart(prices_onnx(version)).items():
        export = export.with_file(name, data)
    return export.sealed(format=format_of(export.files))


def load(store: MemoryModelStore, export: Export) -> ServedModel:
    return load_version(
        export.alias,
        store=store,
        engines=onnx_alone(),
        open_batcher=lambda _alias, engine, _seconds: batcher_of(engine),
    )


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for what is there for a moment."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_version_whose_weights_are_apart_is_loaded_from_the_store(scratch: Path) -> None:
    store, export = MemoryModelStore(), prices_apart(7)
    export.store(store)

    (outputs,) = load(store, export).engine.run((ROW,))

    assert outputs.tolist() == [[2 + 10 + 7]]
    assert b'"format":2' in encode_export_index(export.index)
    assert list(scratch.iterdir()) == []  # what the engine mapped has no name any more


def test_weights_that_are_not_those_promised_are_refused() -> None:
    store, export = MemoryModelStore(), prices_apart(1)
    export.files[WEIGHTS_FILE] = bytes(len(export.files[WEIGHTS_FILE]))
    export.store(store)

    with pytest.raises(ExportInvalid, match=r"model\.onnx\.data: \d+ bytes with SHA-256"):
        load(store, export)


def test_weights_that_are_not_there_are_not_found() -> None:
    store, export = MemoryModelStore(), prices_apart(1)
    key = export_file_key(export.index, WEIGHTS_FILE)
    del export.files[WEIGHTS_FILE]
    export.store(store)

    with pytest.raises(NotFound, match=key):
        load(store, export)


def test_a_folder_s_version_whose_weights_are_apart_is_verified_and_served(tmp_path: Path) -> None:
    write_version(prices_apart(3), tmp_path)

    with running(models=tmp_path) as service:
        assert service.ask("POST", "/v1/models/prices:predict", ROWS).json == {
            "predictions": [[2 + 10 + 3]]
        }

    (tmp_path / "prices" / "3" / WEIGHTS_FILE).write_bytes(b"other weights")
    with pytest.raises(ExportInvalid, match=r"model\.onnx\.data: 13 bytes with SHA-256"):
        proved_engine(read_folder(tmp_path / "prices" / "3"), onnx_alone())


def bare(folder: Path, bias: float) -> Path:
    """Write a model that is nothing but tensors; return where its weights are."""
    files = apart(prices_onnx(bias))
    write_onnx(folder, "bare", files[ONNX_FILE])
    weights = folder / "bare" / "1" / WEIGHTS_FILE
    weights.write_bytes(files[WEIGHTS_FILE])
    return weights


def test_what_is_served_does_not_change_with_the_file_that_it_came_from(tmp_path: Path) -> None:
    weights = bare(tmp_path, 7)
    engine = proved_engine(read_folder(tmp_path / "bare" / "1"), onnx_alone()).engine

    os.truncate(weights, 0)  # who had mapped it would end here

    assert engine.run((ROW,))[0].tolist() == [[19]]


def test_weights_of_a_bare_model_that_change_are_read_again(tmp_path: Path) -> None:
    bare(tmp_path, 7)

    with running(models=tmp_path) as service:
        catalogue = service.catalogue
        (before,) = {slot.served for slot in catalogue.slots() if slot.served is not None}
        bare(tmp_path, 70)
        os.utime(tmp_path / "bare" / "1" / WEIGHTS_FILE, ns=(1, 1))
        os.utime(tmp_path / "bare" / "1" / ONNX_FILE, ns=(1, 1))
        service.watcher.scan()
        os.utime(tmp_path / "bare" / "1" / WEIGHTS_FILE, ns=(2, 2))
        service.watcher.scan()
        (after,) = {slot.served for slot in catalogue.slots() if slot.served is not None}

    assert before.engine.run((ROW,))[0].tolist() == [[19]]
    assert after.engine.run((ROW,))[0].tolist() == [[82]]


def test_a_bare_model_without_its_weights_says_which_file_it_lacks(tmp_path: Path) -> None:
    bare(tmp_path, 7).unlink()

    with pytest.raises(ExportInvalid, match=r"model\.onnx: ONNX Runtime refuses it: .*\.data"):
        proved_engine(read_folder(tmp_path / "bare" / "1"), onnx_alone())


def test_a_runtime_s_words_do_not_name_the_folder_of_a_moment(
    tmp_path: Path, scratch: Path
) -> None:
    write_onnx(tmp_path, "junk", b"no model")

    with pytest.raises(ExportInvalid, match=r"from model\.onnx failed") as refused:
        proved_engine(read_folder(tmp_path / "junk" / "1"), onnx_alone())

    assert str(scratch) not in str(refused.value)


def test_a_disk_that_is_full_is_tried_again_later() -> None:
    def full(_name: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    with pytest.raises(Unavailable, match=r"model\.onnx cannot be copied: No space left"):
        proved_engine(VersionFiles((ONNX_FILE,), full), onnx_alone())


def test_a_process_without_room_for_files_says_which_setting_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    write_onnx(tmp_path, "bare", prices_onnx(1))

    with pytest.raises(Unavailable, match="need a folder below TMPDIR: No such file"):
        proved_engine(read_folder(tmp_path / "bare" / "1"), onnx_alone())
