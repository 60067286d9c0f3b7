import hashlib
import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from rondo_core.initial_weights import layout_of_spec
from rondo_core.keys import alias_key, spec_row_key
from rondo_core.layout import Layout, TensorSpec
from rondo_core.model_rows import AliasRow, SpecRow
from rondo_core.model_spec import encode_model_spec, parse_model_spec
from rondo_core.model_store import holdout_key, spec_key, weights_key
from rondo_core.run_store import Delete, Put
from tests.unit.rondo_gateway.gateway_http import Http
from tests.unit.rondo_gateway.gateway_rows import MODEL, SPEC, START
from tests.unit.rondo_gateway.gateway_world import OPERATOR, World, refused, registration, the_spec

SPECS = "/v1/models/digits/specs"


def test_a_registered_spec_is_a_row_and_an_object(world: World, http: Http) -> None:
    body = registration()

    response = http.post(SPECS, json=body, headers=OPERATOR)

    spec, layout = the_spec(), layout_of_spec(the_spec())
    assert response.json()["spec"] == spec.sha256
    assert world.objects.get(spec_key(spec.sha256)) == encode_model_spec(spec)
    assert world.row(spec_row_key(MODEL, spec.sha256), SpecRow) == SpecRow(
        model=MODEL,
        spec=spec.sha256,
        layout=layout.digest,
        header_bytes=layout.data_offset,
        initial_sha256=body["initial"]["sha256"],
        initial_size=layout.size_bytes,
        holdout_sha256=body["holdout"]["sha256"],
        holdout_size=7,
        created_at=START,
    )


def test_links_are_given_for_the_files_that_are_missing(world: World, http: Http) -> None:
    links = http.post(SPECS, json=registration(), headers=OPERATOR).json()

    status = world.links.put(links["holdout"]["url"], links["holdout"]["headers"], b"holdout")
    again = http.post(SPECS, json=registration(), headers=OPERATOR).json()

    assert status == 200
    assert world.objects.get(holdout_key(hashlib.sha256(b"holdout").hexdigest())) == b"holdout"
    assert again["holdout"] is None
    assert again["initial"]["url"] == links["initial"]["url"]


def test_initial_weights_that_are_there_need_no_upload(world: World, http: Http) -> None:
    body = registration()
    world.objects.put(weights_key(body["initial"]["sha256"]), b"w")

    answer = http.post(SPECS, json=body, headers=OPERATOR).json()

    assert answer["initial"] is None


def test_the_same_registration_again_changes_nothing(world: World, http: Http) -> None:
    first = http.post(SPECS, json=registration(), headers=OPERATOR)
    world.clock.advance(60)

    again = http.post(SPECS, json=registration(), headers=OPERATOR)

    assert again.json()["spec"] == first.json()["spec"]
    assert world.row(spec_row_key(MODEL, the_spec().sha256), SpecRow).created_at == START


def test_the_same_spec_with_another_holdout_is_refused(world: World, http: Http) -> None:
    http.post(SPECS, json=registration(), headers=OPERATOR)
    other = registration(holdout={"sha256": "f" * 64, "size": 7})

    response = http.post(SPECS, json=other, headers=OPERATOR)

    refused(response, 409, "spec-taken")
    assert world.row(spec_row_key(MODEL, the_spec().sha256), SpecRow).holdout_size == 7


def changed_spec(**changes: Any) -> dict[str, Any]:
    return registration(spec={**SPEC, **changes})


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        (changed_spec(model="hearts"), "wrong-model", "`$.spec.model`"),
        (changed_spec(loss="hinge"), "invalid-spec", "`$.spec.loss`"),
        (
            changed_spec(layers=[{"kind": "Lambda", "name": "x", "code": "os"}]),
            "invalid-spec",
            "$.spec.layers",
        ),
        (registration(header="{"), "invalid-header", "`$.header`"),
        (registration(header="{}" + " " * 6), "invalid-header", "`$.header`"),
        (
            registration(
                header=registration()["header"].replace("[1,1]", "[2,1]").replace("8]", "9]")
            ),
            "invalid-header",
            "`$.header`",
        ),
        (registration(initial={"sha256": "f" * 64, "size": 7}), "wrong-size", "`$.initial.size`"),
        (registration(initial={"sha256": "f" * 64}), "invalid-body", "`$.initial`"),
        (registration(spec=[1]), "invalid-body", "`$.spec`"),
    ],
)
def test_a_registration_that_breaks_a_rule_is_told_where(
    world: World, http: Http, body: object, code: str, where: str
) -> None:
    response = http.post(SPECS, json=body, headers=OPERATOR)

    assert where in refused(response, 422, code)["message"]
    assert world.store.query("MODEL#digits") == []


def test_a_header_of_another_model_is_told_which_tensor_differs(http: Http) -> None:
    wider = {
        **SPEC,
        "input": {
            "kind": "table",
            "columns": [{"kind": "number", "name": "age"}, {"kind": "number", "name": "height"}],
        },
    }
    body = registration(spec=wider)

    response = http.post(SPECS, json=body, headers=OPERATOR)

    message = refused(response, 422, "invalid-header")["message"]
    assert "tensor 0" in message
    assert "price/kernel" in message


def test_a_header_whose_second_tensor_differs_is_told_so(http: Http) -> None:
    tensors = [TensorSpec("price/kernel", (1, 1)), TensorSpec("price/offset", (1,))]
    header = Layout(tuple(tensors)).header.decode()

    response = http.post(SPECS, json=registration(header=header), headers=OPERATOR)

    message = refused(response, 422, "invalid-header")["message"]
    assert "tensor 1" in message
    assert "price/offset" in message


def test_a_registration_that_met_somebody_who_then_went_away_is_a_conflict(
    world: World, http: Http
) -> None:
    key = spec_row_key(MODEL, the_spec().sha256)
    world.store.before_commit = lambda: world.store.commit(Put(key, {"model": MODEL}))
    world.store.after_conflict = lambda: world.store.commit(Delete(key))

    response = http.post(SPECS, json=registration(), headers=OPERATOR)

    assert MODEL not in refused(response, 409, "conflict")["message"]


def test_a_spec_that_is_nested_too_deeply_is_refused(http: Http) -> None:
    body = '{"spec": {"model": ' + "[" * 200_000

    response = http.post(SPECS, content=body, headers=OPERATOR)

    refused(response, 400, "malformed-json")


def test_operators_and_the_models_clients_may_read_a_spec(world: World, http: Http) -> None:
    http.post(SPECS, json=registration(), headers=OPERATOR)
    path = f"{SPECS}/{the_spec().sha256}"

    for_client = http.get(path, headers=world.enrolled().headers())
    for_operator = http.get(path, headers=OPERATOR)

    assert for_client.content == for_operator.content
    assert parse_model_spec(for_client.content) == the_spec()
    assert for_client.headers["content-type"] == "application/json"


def test_a_spec_does_not_exist_for_clients_of_another_model(world: World, http: Http) -> None:
    http.post(SPECS, json=registration(), headers=OPERATOR)
    stranger = world.enrolled(model="hearts")

    response = http.get(f"{SPECS}/{the_spec().sha256}", headers=stranger.headers())

    refused(response, 404, "not-found")


def test_an_unknown_spec_is_not_found(world: World, http: Http) -> None:
    world.registered()

    response = http.get(f"{SPECS}/{'e' * 64}", headers=OPERATOR)

    refused(response, 404, "not-found")


def test_a_model_shows_its_specs_newest_first_and_its_clients(world: World, http: Http) -> None:
    old = world.registered()
    later = START + timedelta(seconds=1)
    new = msgspec.structs.replace(old, spec="0" * 64, created_at=later)
    world.put(spec_row_key(MODEL, new.spec), new)
    world.enrolled("south-00000002")
    world.enrolled("north-00000001")
    world.invited()

    view = http.get("/v1/models/digits", headers=OPERATOR).json()

    assert view["specs"] == [new.spec, old.spec]
    assert view["clients"] == ["north-00000001", "south-00000002"]
    assert view["champion"] is None


def test_a_model_shows_what_is_served(world: World, http: Http) -> None:
    world.registered()
    alias = AliasRow(
        model=MODEL,
        label="champion",
        run_id="run-1",
        version=3,
        model_version=2,
        sha256="4" * 64,
        export="5" * 64,
        spec="6" * 64,
        holdout_sha256="7" * 64,
        metrics={"accuracy": 0.9},
        promoted_at=START,
    )
    candidate = msgspec.structs.replace(alias, label="candidate", version=9)
    world.put(alias_key(MODEL, "candidate"), candidate)
    world.put(alias_key(MODEL), alias)

    view = http.get("/v1/models/digits", headers=OPERATOR).json()

    assert (view["champion"], view["champion_run"], view["champion_version"]) == (2, "run-1", 3)
    assert view["metrics"] == {"accuracy": 0.9}
    assert view["promoted_at"] == "2026-01-02T03:04:05Z"


def test_an_unknown_model_is_not_found(http: Http) -> None:
    response = http.get("/v1/models/digits", headers=OPERATOR)

    refused(response, 404, "not-found")


def test_all_models_are_listed_by_name(world: World, http: Http) -> None:
    world.registered("hearts")
    world.registered("digits")

    views = http.get("/v1/models", headers=OPERATOR).json()

    assert [view["model"] for view in views] == ["digits", "hearts"]


def test_a_registration_lists_its_model(http: Http) -> None:
    http.post(SPECS, json=registration(), headers=OPERATOR)

    views = http.get("/v1/models", headers=OPERATOR).json()

    assert json.dumps(views).count(the_spec().sha256) == 1
