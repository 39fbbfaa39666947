"""Licences: a release never allows more than what it is made from."""

import pytest

from aidsafe_dagster.publishing.licences import (
    KNOWN,
    NO_DERIVATIVES,
    Licence,
    SourceLicence,
    covers,
    release_licence,
)
from aidsafe_dagster.recipe.errors import SetupError


def of(*licences: str) -> list[SourceLicence]:
    return [
        SourceLicence(f"source_{n}", licence, 10 * (n + 1)) for n, licence in enumerate(licences)
    ]


@pytest.mark.parametrize(
    ("wanted", "sources"),
    [
        ("mit", ["CC0-1.0"]),
        ("cc-by-4.0", ["MIT", "Apache-2.0", "cc0-1.0"]),
        ("CC-BY-NC-4.0", ["MIT", "cc-by-nc-4.0"]),
        ("cc-by-nc-sa-4.0", ["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "mit"]),
        ("cc-by-sa-4.0", ["cc-by-sa-3.0", "mit"]),
    ],
)
def test_a_licence_that_asks_for_as_much_as_its_sources_is_taken(
    wanted: str, sources: list[str]
) -> None:
    assert release_licence(wanted, of(*sources), {}) == Licence(wanted, wanted.lower())


@pytest.mark.parametrize(
    ("wanted", "sources", "asks"),
    [
        ("mit", ["mit", "cc-by-nc-4.0"], "non-commercial use"),
        ("cc0-1.0", ["unlicense", "apache-2.0"], "credit or notice"),
        ("cc-by-4.0", ["mit", "cc-by-sa-4.0"], "share alike under cc-by-sa-4.0"),
        ("cc-by-nc-4.0", ["mit", "cc-by-nc-sa-4.0"], "share alike under cc-by-nc-sa-4.0"),
        ("cc-by-sa-3.0", ["mit", "cc-by-sa-4.0"], "share alike under cc-by-sa-4.0"),
        ("cc-by-nd-4.0", ["mit", "cc-by-nd-4.0"], "no derivatives"),
    ],
)
def test_a_licence_that_asks_for_less_is_refused_by_source(
    wanted: str, sources: list[str], asks: str
) -> None:
    with pytest.raises(SetupError) as refused:
        release_licence(wanted, of(*sources), {})
    assert f"source 'source_1': its 20 prompts are under {sources[1]}, which asks for" in str(
        refused.value
    )
    assert asks in str(refused.value)


def test_two_families_of_share_alike_have_no_licence_in_common() -> None:
    with pytest.raises(SetupError, match="Those that fit all sources: none we know"):
        release_licence("cc-by-sa-4.0", of("cc-by-sa-4.0", "cc-by-nc-sa-4.0"), {})


def test_without_a_licence_those_that_fit_are_named() -> None:
    with pytest.raises(
        SetupError, match=r"set publish\.licence.*Those that fit: .*cc-by-nc-4\.0"
    ) as refused:
        release_licence("", of("cc-by-nc-4.0"), {})
    assert "mit" not in str(refused.value).partition("fit: ")[2].split(", ")


def test_an_unknown_licence_has_to_be_stated() -> None:
    with pytest.raises(
        SetupError, match=r"source 'source_0': unknown licence 'house terms'.*publish\.licences"
    ):
        release_licence("cc-by-nc-4.0", of("house terms"), {})
    assert (
        release_licence("cc-by-nc-4.0", of("House  Terms"), {"house terms": "cc-by-nc-4.0"}).hub_id
        == "cc-by-nc-4.0"
    )
    with pytest.raises(SetupError, match="does not cover source 'source_0'"):
        release_licence("mit", of("house terms"), {"house terms": "cc-by-nc-4.0"})


def test_what_is_stated_has_to_be_known_itself() -> None:
    with pytest.raises(
        SetupError,
        match=r"publish\.licences\.'house terms': unknown licence 'cc-by-4'.*'cc-by-4.0'",
    ):
        release_licence("mit", of("house terms"), {"house terms": "cc-by-4"})


def test_a_release_may_be_under_terms_that_the_hub_does_not_know() -> None:
    licence = release_licence(
        "acme-research-1", of("cc-by-nc-4.0"), {"acme-research-1": "cc-by-nc-4.0"}
    )
    assert licence == Licence("acme-research-1", "other")


def test_covering_is_an_order_but_for_licences_without_derivatives() -> None:
    for one in KNOWN.values():
        assert covers(one, [one]) == (NO_DERIVATIVES not in one)
        for other in KNOWN.values():
            for third in KNOWN.values():
                if covers(one, [other]) and covers(other, [third]):
                    assert covers(one, [third])
