from typing import Any

import pytest

from rondo_core.errors import SettingsInvalid
from rondo_core.settings import Secret
from rondo_local.demo import containers


def test_every_address_of_a_name_is_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, tuple[str, list[str], list[str]]] = {
        "inference": ("inference", [], ["10.0.0.9", "10.0.0.7"])
    }
    monkeypatch.setattr("socket.gethostbyname_ex", found.__getitem__)

    assert containers.replicas("http://inference:8081") == [
        "http://10.0.0.7:8081",
        "http://10.0.0.9:8081",
    ]


def test_the_first_word_says_which_program_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setitem(containers.WORDS, "own", lambda *words: done.append(words))
    monkeypatch.setattr("sys.argv", ["containers", "own", "bank"])
    monkeypatch.setenv("RONDO_URL", "http://gateway:8080")
    monkeypatch.setenv("RONDO_TOKEN", "token")

    containers.main()

    settings = containers.Settings(rondo_url="http://gateway:8080", rondo_token=Secret("token"))
    assert done == [(settings, "bank")]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["containers", "conduct"])
    monkeypatch.delenv("RONDO_URL", raising=False)
    monkeypatch.delenv("RONDO_TOKEN", raising=False)

    with pytest.raises(SettingsInvalid, match="RONDO_URL is missing"):
        containers.main()
