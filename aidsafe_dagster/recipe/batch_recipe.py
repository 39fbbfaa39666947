"""What the rows of a batch are made under, part by part, so that a difference has a name.

A part is a setting, a policy or a template on which text depends: `model` of the judge,
`sampling.temperature` of the refiner, the policy `fraud_and_deception`. What only says where a
server is or how fast it may be asked is no part. The record of a stage is kept with its batch.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence

from pydantic import Field

from aidsafe_dagster.recipe.policies import Policy
from aidsafe_dagster.recipe.records import Record

HASH = "#"
"""Begins a value that is a hash: two of them can be told apart, and neither says anything."""
POLICIES, TEMPLATE = "policies", "template"
SECOND_POLICIES = "second policies"
"""Those of policy counterfactuals."""
_MOST_CHANGES = 6
_FILES = (POLICIES, SECOND_POLICIES, TEMPLATE)
_Change = tuple[str, str, str]
"""Name, earlier value, present value."""


class RecipePart(Record):
    name: str = Field(
        description="setting, 'policies', 'second policies', or 'template'"
    )
    of: str = Field(description="the role, policy or template; empty: it has none")
    value: str = Field(
        description="as text; '#' and a hash for what is too long to show"
    )
    is_default: bool = Field(
        default=False, description="a setting that was as it is when nobody sets it"
    )


class OtherRecipe(Record):
    """A stage that other rows rest on and that was made under another recipe than they were."""

    stage: str
    rows: int = Field(description="rows of that stage in the batch")
    changes: tuple[str, ...] = Field(description="what differs, in words")


class StageRecipe(Record):
    """What the rows of one stage of a batch were made under. Table `recipes`."""

    batch: str
    stage: str
    fingerprint: str
    parts: tuple[RecipePart, ...]
    mixed_with: tuple[OtherRecipe, ...] = Field(
        default=(),
        description="stages behind these rows that were made under another recipe",
    )


def content_hash(text: str) -> str:
    """Return the value of a part that is known by its content alone."""
    return HASH + hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def policy_hash(policy: Policy) -> str:
    """Return the value of a policy's part."""
    return content_hash(policy.model_dump_json())


def fingerprint_of(parts: Iterable[RecipePart]) -> str:
    """Return 12 hexadecimal digits, the same for the same parts in any order."""
    values = sorted((part.name, part.of, part.value) for part in parts)
    text = json.dumps(values)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def describe_changes(
    earlier: Iterable[RecipePart], present: Iterable[RecipePart]
) -> tuple[str, ...]:
    """Return what differs between two recipes, a line for each change, in words.

    Roles that change alike share a line: 'model of judge, refiner: a → b'.
    """
    before = {(part.name, part.of): part for part in earlier}
    now = {(part.name, part.of): part for part in present}
    all_keys = dict.fromkeys([*before, *now])
    changes: dict[_Change, list[str]] = {}
    for key in all_keys:
        old, new = before.get(key), now.get(key)
        if not _differ(old, new):
            continue
        name, of = key
        change = (name, old.value if old else "", new.value if new else "")
        # Which hash a file had tells nobody anything, so files that changed share a line.
        if name in _FILES:
            change = (name, HASH if old else "", HASH if new else "")
        changes.setdefault(change, []).append(of)
    lines = []
    for change, bearers in changes.items():
        everybody = [of for name, of in all_keys if name == change[0]]
        lines.append(_describe(change, bearers, everybody))
    return tuple(dict.fromkeys(lines))


def shortened(changes: Sequence[str]) -> str:
    """Return changes as one line, of many only the first."""
    shown = "; ".join(changes[:_MOST_CHANGES])
    more = len(changes) - _MOST_CHANGES
    return f"{shown}; and {more} more" if more > 0 else shown


def _differ(old: RecipePart | None, new: RecipePart | None) -> bool:
    if old and new:
        return old.value != new.value
    single = old or new
    assert single is not None
    # A rate of the rehearsal comes and goes with that engine, and the models say so already. And a
    # setting that another release does not know changes nothing while nobody has set it.
    return not single.is_default and not single.name.startswith("rehearsal.")


def _describe(change: _Change, bearers: list[str], everybody: list[str]) -> str:
    name, old, new = change
    if name in _FILES:
        verb = "changed"
        if not old or not new:
            verb = "added" if new else "removed"
        sign = " " if name == TEMPLATE else ": "
        return f"{name}{sign}{', '.join(bearers)} {verb}"
    whose = ""
    # What concerns everybody is a setting of its own, except the models, which people ask after.
    if bearers != [""] and (name == "model" or len(bearers) < len(everybody)):
        whose = f" of {', '.join(bearers)}"
    if old.startswith(HASH) or new.startswith(HASH):
        return f"{name}{whose} changed"
    return f"{name}{whose}: {old or '(not set)'} → {new or '(not set)'}"
