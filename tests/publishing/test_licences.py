"""Licences: a release never permits more than its sources do."""

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


def sources_under(*licences: str) -> list[SourceLicence]:
    return [
        SourceLicence(f"source_{number}", licence, rows=10 * (number + 1))
        for number, licence in enumerate(licences)
    ]


@pytest.mark.parametrize(
    ("requested", "sources"),
    [
        ("mit", ["CC0-1.0"]),
        ("cc-by-4.0", ["MIT", "Apache-2.0", "cc0-1.0"]),
        ("CC-BY-NC-4.0", ["MIT", "cc-by-nc-4.0"]),
        ("cc-by-nc-sa-4.0", ["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "mit"]),
        ("cc-by-sa-4.0", ["cc-by-sa-3.0", "mit"]),
    ],
)
def test_a_licence_that_requires_as_much_as_its_sources_is_accepted(
    requested: str, sources: list[str]
) -> None:
    assert release_licence(requested, sources_under(*sources), {}) == Licence(
        requested, requested.lower()
    )


@pytest.mark.parametrize(
    ("requested", "sources", "condition"),
    [
        ("mit", ["mit", "cc-by-nc-4.0"], "non-commercial use"),
        ("cc0-1.0", ["unlicense", "apache-2.0"], "credit or notice"),
        ("cc-by-4.0", ["mit", "cc-by-sa-4.0"], "share alike under cc-by-sa-4.0"),
        (
            "cc-by-nc-4.0",
            ["mit", "cc-by-nc-sa-4.0"],
            "share alike under cc-by-nc-sa-4.0",
        ),
        ("cc-by-sa-3.0", ["mit", "cc-by-sa-4.0"], "share alike under cc-by-sa-4.0"),
        ("cc-by-nd-4.0", ["mit", "cc-by-nd-4.0"], "no derivatives"),
    ],
)
def test_a_licence_that_requires_less_is_refused_with_the_source(
    requested: str, sources: list[str], condition: str
) -> None:
    with pytest.raises(SetupError) as error:
        release_licence(requested, sources_under(*sources), {})
    assert (
        f"source 'source_1': its 20 prompts are under {sources[1]}, which requires"
        in str(error.value)
    )
    assert condition in str(error.value)


def test_two_families_of_share_alike_have_no_licence_in_common() -> None:
    with pytest.raises(
        SetupError, match="Licences that fit all sources: none that we know"
    ):
        release_licence(
            "cc-by-sa-4.0", sources_under("cc-by-sa-4.0", "cc-by-nc-sa-4.0"), {}
        )


def test_the_error_of_a_missing_licence_lists_those_that_fit() -> None:
    with pytest.raises(
        SetupError, match=r"set publish\.licence.*Licences that fit: .*cc-by-nc-4\.0"
    ) as error:
        release_licence("", sources_under("cc-by-nc-4.0"), {})
    assert "mit" not in str(error.value).partition("fit: ")[2].split(", ")


def test_an_unknown_licence_must_be_declared() -> None:
    with pytest.raises(
        SetupError,
        match=r"source 'source_0': unknown licence 'house terms'.*publish\.licences",
    ):
        release_licence("cc-by-nc-4.0", sources_under("house terms"), {})
    assert (
        release_licence(
            "cc-by-nc-4.0",
            sources_under("House  Terms"),
            {"house terms": "cc-by-nc-4.0"},
        ).hub_id
        == "cc-by-nc-4.0"
    )
    with pytest.raises(SetupError, match="does not cover source 'source_0'"):
        release_licence(
            "mit", sources_under("house terms"), {"house terms": "cc-by-nc-4.0"}
        )


def test_the_declared_equivalent_must_be_known() -> None:
    with pytest.raises(
        SetupError,
        match=r"publish\.licences\.'house terms': unknown licence 'cc-by-4'.*'cc-by-4.0'",
    ):
        release_licence("mit", sources_under("house terms"), {"house terms": "cc-by-4"})


def test_a_release_can_use_a_licence_that_the_hub_does_not_know() -> None:
    licence = release_licence(
        "acme-research-1",
        sources_under("cc-by-nc-4.0"),
        {"acme-research-1": "cc-by-nc-4.0"},
    )
    assert licence == Licence("acme-research-1", "other")


def test_covering_is_a_preorder_except_for_licences_without_derivatives() -> None:
    for one in KNOWN.values():
        assert covers(one, [one]) == (NO_DERIVATIVES not in one)
        for other in KNOWN.values():
            for third in KNOWN.values():
                if covers(one, [other]) and covers(other, [third]):
                    assert covers(one, [third])
