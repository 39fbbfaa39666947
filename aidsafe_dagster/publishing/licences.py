"""Decide which licence a dataset may carry, given the licences of its sources.

A licence is modelled as the set of conditions that it imposes on whoever passes the data on. A
release may impose more conditions than its sources, and never fewer. Share-alike demands one
licence by name, so two share-alike families do not mix. No licence covers a source that forbids
derivatives, because chains of thought and responses are derived from its prompts.

This is a check against accidents and not legal advice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.recipe.errors import SetupError, unknown

Conditions = frozenset[str]
NOTICE = "credit or notice"
NON_COMMERCIAL = "non-commercial use"
NO_DERIVATIVES = "no derivatives"
_FREE = Conditions()
_PERMISSIVE = Conditions({NOTICE})
_NON_COMMERCIAL = Conditions({NOTICE, NON_COMMERCIAL})


def _share_alike(*names: str) -> Conditions:
    return Conditions({NOTICE, *(f"share alike under {name}" for name in names)})


KNOWN: Mapping[str, Conditions] = {
    "cc0-1.0": _FREE,
    "pddl": _FREE,
    "unlicense": _FREE,
    "mit": _PERMISSIVE,
    "isc": _PERMISSIVE,
    "bsd": _PERMISSIVE,
    "bsd-2-clause": _PERMISSIVE,
    "bsd-3-clause": _PERMISSIVE,
    "apache-2.0": _PERMISSIVE,
    "cc-by-2.0": _PERMISSIVE,
    "cc-by-2.5": _PERMISSIVE,
    "cc-by-3.0": _PERMISSIVE,
    "cc-by-4.0": _PERMISSIVE,
    "odc-by": _PERMISSIVE,
    "cdla-permissive-1.0": _PERMISSIVE,
    "cdla-permissive-2.0": _PERMISSIVE,
    # Material under version 3.0 may be passed on under 3.0 or later.
    "cc-by-sa-3.0": _share_alike("cc-by-sa-3.0 or later"),
    "cc-by-sa-4.0": _share_alike("cc-by-sa-3.0 or later", "cc-by-sa-4.0"),
    "odbl": _share_alike("odbl"),
    "cdla-sharing-1.0": _share_alike("cdla-sharing-1.0"),
    "cc-by-nc-2.0": _NON_COMMERCIAL,
    "cc-by-nc-3.0": _NON_COMMERCIAL,
    "cc-by-nc-4.0": _NON_COMMERCIAL,
    "cc-by-nc-sa-3.0": _share_alike("cc-by-nc-sa-3.0 or later") | {NON_COMMERCIAL},
    "cc-by-nc-sa-4.0": (
        _share_alike("cc-by-nc-sa-3.0 or later", "cc-by-nc-sa-4.0") | {NON_COMMERCIAL}
    ),
    "cc-by-nd-4.0": _PERMISSIVE | {NO_DERIVATIVES},
    "cc-by-nc-nd-4.0": _NON_COMMERCIAL | {NO_DERIVATIVES},
}
"""Licence, by its id on the Hub → its conditions."""
_ALIASES = {
    "cc0": "cc0-1.0",
    "public-domain": "cc0-1.0",
    "odc-odbl": "odbl",
    "odbl-1.0": "odbl",
    "odc-by-1.0": "odc-by",
}


@dataclass(frozen=True)
class SourceLicence:
    source: str
    licence: str
    """As the rows name it."""
    rows: int


@dataclass(frozen=True)
class Licence:
    """The licence of a release, as in the card's metadata."""

    name: str
    hub_id: str
    """`other` if the Hub does not know the licence."""


def release_licence(
    requested: str, sources: Sequence[SourceLicence], declared: Mapping[str, str]
) -> Licence:
    """Return the requested licence after checking that it covers every source.

    Args:
        requested: the setting `publish.licence`.
        sources: the sources of the rows.
        declared: unknown licence → the known one it amounts to (`publish.licences`).

    Raises:
        SetupError: no licence is set, one is unknown, or a source imposes a condition that the
            release does not.
    """
    custom = {}
    for name, equivalent in declared.items():
        custom[_normalise(name)] = _declared_conditions(name, equivalent)
    by_source = {}
    for source in sources:
        place = f"source '{source.source}'"
        by_source[source] = _conditions(source.licence, custom, place)
    # Named in both messages below: somebody without a licence in mind can choose one.
    fitting = _fitting_licences(by_source.values())
    if not requested.strip():
        raise SetupError(
            "set publish.licence, the licence of the published dataset. "
            f"Licences that fit: {fitting}"
        )
    release = _conditions(requested, custom, "publish.licence")
    for source, conditions in by_source.items():
        if not covers(release, [conditions]):
            # No release covers a ban on derivatives, even if its own licence has one too.
            missing = (conditions - release) | (conditions & {NO_DERIVATIVES})
            raise SetupError(
                f"publish.licence = '{requested}' does not cover source '{source.source}': "
                f"its {source.rows} prompts are under {source.licence}, which requires "
                f"{', '.join(sorted(missing))}. Licences that fit all sources: {fitting}"
            )
    hub_id = _normalise(requested)
    if hub_id not in KNOWN:
        hub_id = "other"
    return Licence(requested.strip(), hub_id)


def covers(release: Conditions, sources: Iterable[Conditions]) -> bool:
    """Tell whether a release under these conditions may be made from all of the sources."""
    return all(
        conditions <= release and NO_DERIVATIVES not in conditions
        for conditions in sources
    )


def _fitting_licences(sources: Iterable[Conditions]) -> str:
    required = list(sources)
    names = [
        name
        for name, conditions in sorted(KNOWN.items())
        if covers(conditions, required)
    ]
    return ", ".join(names) or "none that we know"


def _conditions(
    licence: str, custom: Mapping[str, Conditions], place: str
) -> Conditions:
    name = _normalise(licence)
    if name in custom:
        return custom[name]
    if name in KNOWN:
        return KNOWN[name]
    raise SetupError(
        f"{unknown('licence', licence, KNOWN, place)}. If it is none of these, declare which one "
        f'it amounts to under [publish.licences]: "{licence}" = "…"'
    )


def _declared_conditions(name: str, equivalent: str) -> Conditions:
    if _normalise(equivalent) not in KNOWN:
        raise unknown("licence", equivalent, KNOWN, f"publish.licences.'{name}'")
    return KNOWN[_normalise(equivalent)]


def _normalise(licence: str) -> str:
    name = "-".join(licence.casefold().split())
    return _ALIASES.get(name, name)
