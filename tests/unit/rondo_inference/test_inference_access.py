import asyncio
import base64
import hashlib
import html
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rondo_core.errors import Invalid, NotFound
from rondo_core.testing import ManualClock
from rondo_inference.web.access import read_keys
from tests.unit.rondo_inference.asked import Service, running
from tests.unit.rondo_inference.exported import sample_folder

ROW = {"instances": [[3, "Bonn"]]}
PREDICT = "/v1/models/prices:predict"


def entry(key: str, **more: object) -> dict[str, object]:
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), **more}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Service]:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([entry("all"), entry("some", models=["prices"], rate=2, burst=3)]))
    with running(models=sample_folder(tmp_path / "models"), api_keys_file=str(keys)) as found:
        yield found


def test_without_a_key_only_health_and_metrics_answer(guarded: Service) -> None:
    closed = [
        guarded.ask("POST", PREDICT, ROW),
        guarded.ask("GET", "/v2/models/prices"),
        guarded.ask("POST", PREDICT, ROW, authorization="Bearer wrong"),
        guarded.ask("POST", PREDICT, ROW, authorization="Basic all"),
    ]
    open_ = [
        guarded.ask("GET", path).status
        for path in ("/ping", "/healthz", "/readyz", "/metrics", "/v2/health/live")
    ]

    assert {reply.status for reply in closed} == {401}
    assert closed[0].headers["www-authenticate"] == "Bearer"
    assert set(open_) == {200}


@pytest.mark.parametrize("headers", [{"authorization": "Bearer all"}, {"x_api_key": "all"}])
def test_a_key_is_sent_in_either_header(guarded: Service, headers: dict[str, str]) -> None:
    assert guarded.ask("POST", PREDICT, ROW, **headers).status == 200


def test_a_key_is_for_its_models(guarded: Service) -> None:
    key = {"x_api_key": "some"}

    own = guarded.ask("POST", PREDICT, ROW, **key).status
    other = guarded.ask("POST", "/v1/models/floats:predict", ROW, **key).status
    load = guarded.ask("POST", "/v2/repository/models/floats/load", b"{}", **key).status

    assert (own, other, load) == (200, 403, 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/catalogue"),
        ("GET", "/v2/models/stats"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_what_tells_of_all_models_needs_a_key_for_all(
    guarded: Service, method: str, path: str
) -> None:
    some, everything = (guarded.ask(method, path, x_api_key=key) for key in ("some", "all"))

    assert (some.status, everything.status) == (403, 200)
    assert b"floats" not in some.body


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json"])
def test_what_lists_models_lists_those_of_the_key(guarded: Service, path: str) -> None:
    some, everything = (guarded.ask("GET", path, x_api_key=key) for key in ("some", "all"))

    assert (some.status, everything.status) == (200, 200)
    assert b"prices" in some.body
    assert b"floats" not in some.body
    assert b"floats" in everything.body


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v2", 200), ("/execution-parameters", 200), ("/v2/models/prices/stats", 200)],
)
def test_what_tells_of_the_server_or_of_the_own_model_needs_any_key(
    guarded: Service, path: str, status: int
) -> None:
    assert guarded.ask("GET", path, x_api_key="some").status == status


def test_a_bucket_is_emptied_and_fills_again(guarded: Service) -> None:
    def ask() -> int:
        return guarded.ask("POST", PREDICT, ROW, x_api_key="some").status

    first = [ask() for _ in range(4)]
    refused = guarded.ask("POST", PREDICT, ROW, x_api_key="some")
    guarded.clock.advance(0.5)

    assert first == [200, 200, 200, 429]
    assert refused.headers["retry-after"] == "1"
    assert [ask(), ask()] == [200, 429]


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        (PREDICT, "wrong", 401),
        ("/v1/models/floats:predict", "some", 403),
        ("/invocations?model=floats", "some", 403),
        ("/2015-03-31/functions/floats/invocations", "some", 403),
        ("/v2/repository/models/floats/load", "some", 403),
        ("/nowhere", "all", 404),
        ("/ping", "all", 405),
    ],
)
def test_what_the_head_decides_is_refused_before_the_body_is_sent(
    guarded: Service, path: str, key: str, status: int
) -> None:
    headers = {"expect": "100-continue", "content-length": "50", "x-api-key": key}

    reply = asyncio.run(guarded.call("POST", path, chunks=(), headers=headers))

    assert reply is not None
    assert reply.status == status


def test_an_empty_bucket_is_told_before_the_body_is_sent(guarded: Service) -> None:
    headers = {"expect": "100-continue", "content-length": "50", "x-api-key": "some"}
    for _ in range(3):
        guarded.ask("POST", PREDICT, ROW, x_api_key="some")

    reply = asyncio.run(guarded.call("POST", PREDICT, chunks=(), headers=headers))

    assert reply is not None
    assert reply.status == 429


def test_a_key_for_a_model_may_name_a_version_of_its_function(guarded: Service) -> None:
    path = "/2015-03-31/functions/prices:1/invocations"

    assert guarded.ask("POST", path, ROW, x_api_key="some").status == 200


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '[{"sha256": "x"}]',
        '[{"rate": 1}]',
        json.dumps([entry("all", owner="")]),
        json.dumps([entry("all", owner="two words")]),
    ],
)
def test_a_malformed_file_of_keys_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)

    with pytest.raises(Invalid):
        read_keys(tmp_path / "keys", ManualClock())


def test_a_missing_file_of_keys_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_keys(tmp_path / "keys", ManualClock())


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{key}".encode()).decode()


def test_a_browser_asks_for_the_key_and_sends_it_as_a_password(guarded: Service) -> None:
    first = guarded.ask("GET", "/")
    wrong = [
        guarded.ask("GET", "/", authorization=sent).status
        for sent in (basic("wrong"), "Basic !", "Basic /w==", "Bearer wrong")
    ]
    pages = [
        guarded.ask("GET", path, authorization=basic("all")).status
        for path in (
            "/",
            "/page/models/prices",
            "/page/models/prices/sample.csv",
            "/docs",
            "/openapi.json",
        )
    ]

    assert first.headers["www-authenticate"] == 'Basic realm="Rondo", charset="UTF-8"'
    assert wrong == [401] * 4
    assert pages == [200] * 5


def test_a_password_opens_nothing_that_another_site_could_misuse(guarded: Service) -> None:
    unload = "/v2/repository/models/prices/unload"

    closed = [
        guarded.ask("POST", path, b"{}", authorization=basic("all")) for path in (PREDICT, unload)
    ]

    assert [reply.status for reply in closed] == [401, 401]
    assert {reply.headers["www-authenticate"] for reply in closed} == {"Bearer"}


def test_a_password_is_for_its_models_too(guarded: Service) -> None:
    sent = basic("some")

    own = guarded.ask("GET", "/page/models/prices", authorization=sent).status
    other = guarded.ask("GET", "/page/models/floats", authorization=sent).status

    assert (own, other) == (200, 403)


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("path", "sent", "status", "words"),
    [
        ("/", "", 401, "the key is the password"),
        ("/page/models/prices", basic("wrong"), 401, "the key is the password"),
        ("/page/models/floats", basic("some"), 403, "the key is not for model 'floats'"),
        ("/nowhere", basic("some"), 404, "no such path: /nowhere"),
    ],
)
def test_a_person_who_is_refused_reads_a_page_and_a_program_json(
    guarded: Service, path: str, sent: str, status: int, words: str
) -> None:
    page = guarded.ask("GET", path, accept=BROWSER, authorization=sent)
    plain = guarded.ask("GET", path, authorization=sent)

    assert (page.status, plain.status) == (status, status)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert words in html.unescape(page.body.decode())
    assert b"Bearer" not in page.body
    assert page.headers.get("www-authenticate") == plain.headers.get("www-authenticate")
    assert list(plain.json) == ["error"]


def test_a_person_who_asks_too_often_reads_when_to_come_again(guarded: Service) -> None:
    replies = [
        guarded.ask("GET", "/", accept=BROWSER, authorization=basic("some")) for _ in range(4)
    ]

    assert replies[3].status == 429
    assert b"come again in 0.50 s" in replies[3].body
    assert replies[3].headers["retry-after"] == "1"


def test_a_browser_that_asks_what_programs_ask_gets_their_refusal(guarded: Service) -> None:
    reply = guarded.ask("GET", "/v2/models/prices", accept=BROWSER)

    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert list(reply.json) == ["error"]


def test_only_short_paths_are_remembered_since_anybody_may_send_long_ones(guarded: Service) -> None:
    for path in ("/v2/models/prices", f"/v2/models/{'x' * 60_000}"):
        assert guarded.app.admit("GET", path, "", {}).refusal is not None

    assert list(guarded.app.admissions.remembered) == [("GET", "/v2/models/prices")]
