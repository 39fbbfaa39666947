"""Whether the categories of policies meet any prompt of the project, and the other way round."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.policy_work.findings import Finding, PolicyFile
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies, load_policies
from aidsafe_dagster.settings.schema import PACKAGE, Settings
from aidsafe_dagster.sources.ingestion import ingest
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.sources.tables import INGESTED

_MOST_ROWS = 2000
"""Read of each source that is not ingested yet."""
_MOST_NAMED = 8


class KnownCategories(NamedTuple):
    names: frozenset[str]
    """As prompts have them."""
    unread: tuple[str, ...]
    """Sources that nobody looked at, so a category may well be in one of them."""


def known_categories(settings: Settings) -> KnownCategories:
    """Return the categories of all ingested prompts and of the configured sources.

    Sources on the Hub that are not ingested yet are not loaded.
    """
    names: set[str] = set()
    ingested = Lake(settings.lake).all_rows(INGESTED, ["source", "category"])
    done: set[str] = set()
    if ingested is not None:
        done = set(ingested["source"])
        for category in ingested["category"].unique():
            names.update(_split(category))
    unread = []
    for spec in settings.sources or bundled_sources():
        if spec.name in done:
            continue
        if spec.path is None:
            unread.append(spec.name)
            continue
        limit = min(spec.limit or _MOST_ROWS, _MOST_ROWS)
        limited = spec.model_copy(update={"limit": limit})
        try:
            ingestion = ingest([limited], [], settings.ingest, {})
        except SetupError:
            # What is wrong with a source, ingestion says.
            unread.append(spec.name)
            continue
        for rows in ingestion.batches.values():
            for prompt in rows:
                names.update(_split(prompt.category))
    return KnownCategories(frozenset(names), tuple(unread))


def check_categories(
    files: Sequence[PolicyFile], known: KnownCategories
) -> Iterator[Finding]:
    """Yield categories of policies that no prompt has."""
    met = {_fold(name) for name in known.names}
    shipped = _shipped_categories()
    for file in files:
        if file.policy is None:
            continue
        to_know = []
        for category in file.policy.categories:
            if any(_fold(name) in met for name in _split(category)):
                continue
            # A known dataset's, of which this project has no prompt.
            if _fold(category) in shipped or known.unread:
                to_know.append(category)
            else:
                yield _finding(file, file.policy.id, _message(category, known))
        if to_know:
            listing = ", ".join(f"'{category}'" for category in to_know)
            message = f"of known datasets, and meeting no prompt: {listing}"
            if known.unread:
                message = (
                    f"meeting no prompt so far: {listing}; not looked at: "
                    f"{', '.join(known.unread)}"
                )
            yield _finding(file, file.policy.id, message, is_note=True)


def _finding(
    file: PolicyFile, policy_id: str, message: str, *, is_note: bool = False
) -> Finding:
    return Finding(
        check="category",
        file=file.path,
        line=file.line_of("categories"),
        rule=policy_id,
        message=message,
        is_note=is_note,
    )


def check_unmet(
    known: KnownCategories, policies: Policies, folder: Path
) -> Iterator[Finding]:
    """Yield a note on categories of prompts that no policy names."""
    unmet = []
    for name in sorted(known.names):
        if not any(policy.concerns(name) for policy in policies.policies):
            unmet.append(name)
    if unmet:
        listing = ", ".join(unmet[:_MOST_NAMED])
        more = f" and {len(unmet) - _MOST_NAMED} more" if unmet[_MOST_NAMED:] else ""
        yield Finding(
            check="category",
            file=folder,
            line=0,
            rule="",
            message=f"categories of prompts that no policy names: {listing}{more}; their intents "
            "alone decide which policies apply",
            is_note=True,
        )


def _message(category: str, known: KnownCategories) -> str:
    message = f"the category '{category}' meets no prompt"
    nearest = get_close_matches(category, sorted(known.names), n=1, cutoff=0.6)
    if nearest:
        message += f"; did you mean '{nearest[0]}'?"
    return message


def _shipped_categories() -> set[str]:
    shipped: set[str] = set()
    for policy in load_policies(PACKAGE / "policies").policies:
        shipped.update(map(_fold, policy.categories))
    return shipped


def _split(category: str) -> list[str]:
    names = [name.strip() for name in category.split(";")]
    return [name for name in names if name]


def _fold(name: str) -> str:
    return name.casefold().strip()
