"""Which licence a dataset may carry, given the licences of what it is made from.

A licence is the set of what it asks of whoever passes the data on. A release may ask for more than its sources do, and
never for less. Share-alike asks for one licence by name, so two families of it do not mix; no licence covers a source
that forbids derivatives, since chains of thought and responses are made from its prompts.
This is a check against accidents and no legal advice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.recipe.errors import SetupError, unknown

Asks = frozenset[str]
NOTICE, NON_COMMERCIAL, NO_DERIVATIVES = "credit or notice", "non-commercial use", "no derivatives"
_FREE = Asks()
_PERMISSIVE = Asks({NOTICE})


def _alike(*names: str) -> Asks:
    return Asks({NOTICE, *(f"share alike under {name}" for name in names)})


KNOWN: Mapping[str, Asks] = {
    **dict.fromkeys(("cc0-1.0", "pddl", "unlicense"), _FREE),
    **dict.fromkeys(
        ("mit", "isc", "bsd", "bsd-2-clause", "bsd-3-clause", "apache-2.0"), _PERMISSIVE
    ),
    **dict.fromkeys(("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "odc-by"), _PERMISSIVE),
    **dict.fromkeys(("cdla-permissive-1.0", "cdla-permissive-2.0"), _PERMISSIVE),
    "cc-by-sa-3.0": _alike("cc-by-sa-3.0 or later"),
    "cc-by-sa-4.0": _alike("cc-by-sa-3.0 or later", "cc-by-sa-4.0"),
    "odbl": _alike("odbl"),
    "cdla-sharing-1.0": _alike("cdla-sharing-1.0"),
    **dict.fromkeys(
        ("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"), _PERMISSIVE | {NON_COMMERCIAL}
    ),
    "cc-by-nc-sa-3.0": _alike("cc-by-nc-sa-3.0 or later") | {NON_COMMERCIAL},
    "cc-by-nc-sa-4.0": _alike("cc-by-nc-sa-3.0 or later", "cc-by-nc-sa-4.0") | {NON_COMMERCIAL},
    "cc-by-nd-4.0": _PERMISSIVE | {NO_DERIVATIVES},
    "cc-by-nc-nd-4.0": _PERMISSIVE | {NON_COMMERCIAL, NO_DERIVATIVES},
}
"""Licence, by its id on the Hub → what it asks for."""
_ALSO = {
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
    """The licence of a release, as the card's metadata has it."""

    name: str
    hub_id: str
    """`other` where the Hub does not know it."""


def release_licence(
    wanted: str, sources: Sequence[SourceLicence], stated: Mapping[str, str]
) -> Licence:
    """The licence wanted, once it is known to cover every source.

    Args:
        wanted: the setting `publish.licence`.
        sources: what the rows come from.
        stated: licences that are not known by name → the known one each amounts to (`publish.licences`).

    Raises:
        SetupError: no licence is set, one is not known, or a source asks for more than the release does.
    """
    own = {_plain(name): _known(name, meaning) for name, meaning in stated.items()}
    asked = {source: _asks(source.licence, own, f"source '{source.source}'") for source in sources}
    covering = (
        ", ".join(sorted(name for name, asks in KNOWN.items() if covers(asks, asked.values())))
        or "none we know"
    )
    if not wanted.strip():
        raise SetupError(
            f"set publish.licence, the licence of the published dataset. Those that fit: {covering}"
        )
    given = _asks(wanted, own, "publish.licence")
    for source, asks in asked.items():
        if not covers(given, [asks]):
            raise SetupError(
                f"publish.licence = '{wanted}' does not cover source '{source.source}': its {source.rows} prompts are "
                f"under {source.licence}, which asks for {_more(asks, given)}. Those that fit all sources: {covering}"
            )
    plain = _plain(wanted)
    return Licence(wanted.strip(), plain if plain in KNOWN else "other")


def covers(release: Asks, sources: Iterable[Asks]) -> bool:
    """True when a release that asks for this may be made from sources that ask for those."""
    return all(asks <= release and NO_DERIVATIVES not in asks for asks in sources)


def _more(asks: Asks, given: Asks) -> str:
    return ", ".join(sorted((asks - given) | (asks & {NO_DERIVATIVES})))


def _asks(licence: str, own: Mapping[str, Asks], place: str) -> Asks:
    plain = _plain(licence)
    if plain in own:
        return own[plain]
    if plain in KNOWN:
        return KNOWN[plain]
    hint = f'If it is none of these, say what it amounts to, under [publish.licences]: "{licence}" = "…"'
    raise SetupError(f"{unknown('licence', licence, KNOWN, place)}. {hint}")


def _known(name: str, meaning: str) -> Asks:
    if _plain(meaning) not in KNOWN:
        raise unknown("licence", meaning, KNOWN, f"publish.licences.'{name}'")
    return KNOWN[_plain(meaning)]


def _plain(licence: str) -> str:
    plain = "-".join(licence.casefold().split())
    return _ALSO.get(plain, plain)
