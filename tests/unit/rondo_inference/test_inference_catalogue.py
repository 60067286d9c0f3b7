import re

import pytest

from rondo_core.errors import Invalid, NotFound, Unavailable
from rondo_core.model_rows import AliasRow
from rondo_inference.registry.catalogue import Catalogue
from rondo_inference.registry.served import ServedModel
from rondo_inference.registry.slots import Slot, VersionStatus
from tests.unit.rondo_inference.exported import Export, prices_export, shapes_export
from tests.unit.rondo_inference.fakes import served_by


def served(export: Export) -> ServedModel:
    return served_by(export)


def slot(export: Export) -> Slot:
    return Slot(export.alias, served(export))


def wanted(export: Export) -> AliasRow:
    return export.alias


def catalogue_of(*slots: Slot) -> Catalogue:
    catalogue = Catalogue()
    for one in slots:
        catalogue.store(one)
    return catalogue


def test_the_champion_answers_where_no_version_is_named() -> None:
    champion, candidate = slot(prices_export(1)), slot(prices_export(2, label="candidate"))
    catalogue = catalogue_of(champion, candidate)

    assert catalogue.find("prices") is champion.served
    assert catalogue.find("prices", label="candidate") is candidate.served
    assert catalogue.find("prices", version=2) is candidate.served


def test_an_unknown_model_is_not_found_and_the_others_are_named() -> None:
    catalogue = catalogue_of(slot(prices_export()), slot(shapes_export()))

    with pytest.raises(NotFound, match="no model 'cats'; served are: prices, shapes"):
        catalogue.find("cats")


def test_with_nothing_served_an_unknown_model_is_not_found() -> None:
    with pytest.raises(NotFound, match="no model 'cats'; served are: none"):
        Catalogue().find("cats")


def test_an_unknown_label_or_version_is_not_found_and_the_served_ones_are_named() -> None:
    catalogue = catalogue_of(slot(prices_export(4)))

    with pytest.raises(NotFound, match=re.escape("no label 'beta'; served versions: [4]")):
        catalogue.find("prices", label="beta")
    with pytest.raises(NotFound, match=re.escape("no version 3; served versions: [4]")):
        catalogue.find("prices", version=3)


def test_a_first_version_that_is_being_loaded_is_unavailable() -> None:
    catalogue = catalogue_of(Slot(wanted(prices_export(2))))

    with pytest.raises(Unavailable, match="version 2 of model 'prices' is not served: it is being"):
        catalogue.find("prices")


def test_a_first_version_that_cannot_be_loaded_is_unavailable_with_the_reason() -> None:
    alias = wanted(prices_export(2))
    catalogue = catalogue_of(Slot(alias, failure="no object"))

    with pytest.raises(Unavailable, match="is not served: no object"):
        catalogue.find("prices")


def test_the_only_model_needs_no_name() -> None:
    only = slot(prices_export())

    assert catalogue_of(only).resolve(None) is only


def test_of_several_models_one_must_be_named() -> None:
    catalogue = catalogue_of(slot(shapes_export()), slot(prices_export()))

    with pytest.raises(Invalid, match="name the model; served are prices, shapes"):
        catalogue.resolve(None)


def test_without_a_model_there_is_nothing_to_choose_yet() -> None:
    with pytest.raises(Unavailable, match="no model is served yet"):
        Catalogue().resolve(None)


def test_status_tells_of_every_version_once() -> None:
    old, new = slot(prices_export(1)), wanted(prices_export(2))
    catalogue = catalogue_of(
        Slot(new, old.served, "bad digest"),
        Slot(wanted(prices_export(3, label="candidate"))),
        Slot(wanted(prices_export(1, label="stable"))),
    )

    assert catalogue.status("prices") == [
        VersionStatus(1, "AVAILABLE"),
        VersionStatus(2, "END", "bad digest", failed=True),
        VersionStatus(3, "LOADING"),
    ]


def test_status_of_an_unknown_model_is_not_found() -> None:
    with pytest.raises(NotFound, match="no model 'prices'"):
        Catalogue().status("prices")


def test_a_dropped_alias_is_gone_and_the_others_stay() -> None:
    shapes = slot(shapes_export())
    catalogue = catalogue_of(slot(prices_export()), shapes)

    catalogue.drop("prices", "champion")

    assert catalogue.slots() == [shapes]


def test_a_slot_says_how_it_stands() -> None:
    alias = wanted(prices_export(2))
    failure = "no object"

    assert Slot(alias).state == "LOADING"
    assert Slot(alias, failure=failure).state == "END"
    assert Slot(alias, served(prices_export(1)), failure).state == "AVAILABLE"


@pytest.mark.parametrize(
    ("slots", "ready"),
    [
        ((), True),
        ((slot(prices_export()),), True),
        ((Slot(wanted(prices_export()), failure="bad digest"),), False),
        ((slot(shapes_export()), Slot(wanted(prices_export()))), False),
        ((Slot(wanted(prices_export()), lazy=True),), True),
        ((Slot(wanted(prices_export()), failure="bad digest", lazy=True),), False),
        ((Slot(wanted(prices_export()), failure="bad digest", unloaded=True),), True),
        (
            (
                slot(prices_export(1)),
                Slot(wanted(prices_export(2, label="candidate")), failure="bad digest"),
            ),
            True,
        ),
        ((Slot(wanted(prices_export(2)), served(prices_export(1)), "bad digest"),), True),
    ],
    ids=[
        "nothing to serve",
        "served",
        "corrupt",
        "still loading",
        "on demand",
        "on demand and corrupt",
        "unloaded",
        "corrupt candidate",
        "corrupt, but an older version answers",
    ],
)
def test_readiness_waits_for_the_champion_of_every_model(
    slots: tuple[Slot, ...], *, ready: bool
) -> None:
    catalogue = catalogue_of(*slots)

    catalogue.settle()

    assert (catalogue.ready, catalogue.complete) == (ready, ready)


def test_before_the_first_scan_has_ended_nothing_is_ready() -> None:
    assert (Catalogue().ready, Catalogue().complete) == (False, False)


def test_once_ready_a_new_model_does_not_take_readiness_away_but_not_all_models_answer() -> None:
    catalogue = Catalogue()
    catalogue.settle()

    catalogue.store(Slot(wanted(prices_export())))
    catalogue.settle()

    assert (catalogue.ready, catalogue.complete) == (True, False)
    assert catalogue.lacking() == ["model 'prices' is being loaded"]


def test_what_cannot_be_read_of_a_model_counts_unless_its_champion_answers() -> None:
    catalogue = catalogue_of(slot(prices_export()))

    catalogue.settle(faults={"prices": "prices is odd", "shapes": "shapes is odd"})

    assert (catalogue.ready, catalogue.lacking()) == (False, ["shapes is odd"])


def test_a_failure_is_noted_only_while_the_version_is_still_wanted() -> None:
    catalogue = catalogue_of(Slot(wanted(prices_export(2))))

    catalogue.fail(wanted(prices_export(1)), "bad digest")
    other = catalogue.slots()[0].failure
    catalogue.fail(wanted(prices_export(2)), "bad digest")

    assert (other, catalogue.slots()[0].failure) == ("", "bad digest")


def test_what_is_unloaded_stays_so_when_another_version_or_label_is_wanted() -> None:
    catalogue = catalogue_of(slot(prices_export(1)))

    catalogue.unload("prices")
    champion = catalogue.want(wanted(prices_export(2)), lazy=False)
    candidate = catalogue.want(wanted(prices_export(1, label="candidate")), lazy=True)
    catalogue.fill(served(prices_export(2)))  # a load that was under way

    assert (champion.unloaded, candidate.unloaded) == (True, True)
    assert [one.state for one in catalogue.slots()] == ["END", "END"]
    catalogue.release("prices")
    assert [one.state for one in catalogue.slots()] == ["START", "LOADING"]
