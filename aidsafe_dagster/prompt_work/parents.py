"""The harmful prompts of a dataset that others may be made from, and why the rest may not.

What is made from a prompt is trained on. So a prompt that is in an evaluation set, or that is held
out with its cluster, is no parent: its words would be trained on in other clothes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import known_in_evaluation
from aidsafe_dagster.recipe.fine_tune_splits import splits_near
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_kinds import classify_intents
from aidsafe_dagster.recipe.records import Intent, Prompt, PromptKind, Stage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.contamination import Match
from aidsafe_dagster.sources.tables import INGESTED

FindMatches = Callable[[Iterable[Prompt]], Mapping[str, Match]]
"""Returns the match of each prompt that is in an evaluation set, by prompt id."""


class NoParent(StrEnum):
    """Why nothing is made from a harmful prompt."""

    CONTAMINATED = "in an evaluation set"
    HELD_OUT = "held out: in the validation or test split, or near to it"
    MADE_UP = "written by the rehearsal engine"


@dataclass(frozen=True)
class Parent:
    """A harmful prompt that others may be made from."""

    prompt: Prompt
    intents: tuple[Intent, ...]
    """As the pipeline found them; none for a prompt that no batch has made yet."""
    is_rehearsed: bool = False
    """A rehearsal found that it is harmful."""

    @property
    def benign_intents(self) -> tuple[str, ...]:
        """What somebody with these words may harmlessly want, each text once."""
        texts = [intent.text for intent in self.intents if intent.harm == "benign"]
        return tuple(dict.fromkeys(texts))


@dataclass(frozen=True)
class Parents:
    """The harmful prompts of a dataset."""

    eligible: tuple[Parent, ...]
    """In the order in which they were ingested."""
    left_out: Mapping[NoParent, int]
    unknown: int
    """Prompts of which nobody knows yet whether they are harmful."""
    simulated: bool
    """A rehearsal found what is harmful."""
    variants: frozenset[tuple[str, str, str]]
    """Method, prompt id of the parent, and detail of what was made already."""

    @property
    def harmful(self) -> int:
        return len(self.eligible) + sum(self.left_out.values())


def find_parents(
    lake: Lake, settings: Settings, policies: Policies, find_matches: FindMatches
) -> Parents:
    """Return the harmful prompts of a lake, apart from those that were made from others.

    Rows of a rehearsal count only while the engine is one.

    Raises:
        SetupError: a file of the lake is damaged, or of another release.
    """
    harmful: list[Parent] = []
    variants: set[tuple[str, str, str]] = set()
    unknown = 0
    simulated = False
    for batch in lake.batches(INGESTED):
        known = _read_kinds(lake, batch, policies, with_rehearsed=_rehearses(settings))
        simulated = simulated or bool(known.rehearsed)
        for prompt in lake.records(INGESTED, batch, Prompt):
            derivation = prompt.derivation
            if derivation and derivation.is_for_training_alone:
                variants.add((derivation.method, derivation.parent, derivation.detail))
                continue
            kind = known.kind_of(prompt)
            unknown += kind is None
            if kind == "harmful":
                intents = known.intents.get(prompt.prompt_id, ())
                is_rehearsed = prompt.prompt_id in known.rehearsed
                harmful.append(Parent(prompt, intents, is_rehearsed))
    eligible, left_out = _leave_out(harmful, lake, settings, find_matches)
    return Parents(tuple(eligible), left_out, unknown, simulated, frozenset(variants))


@dataclass(frozen=True)
class _Kinds:
    """What the stages of a batch found of its prompts, by prompt id."""

    graded: Mapping[str, PromptKind]
    intents: Mapping[str, tuple[Intent, ...]]
    policies: Policies
    rehearsed: frozenset[str]
    """Those whose rows a rehearsal made."""

    def kind_of(self, prompt: Prompt) -> PromptKind | None:
        if prompt.prompt_id in self.graded:
            return self.graded[prompt.prompt_id]
        if prompt.prompt_id in self.intents:
            return classify_intents(self.intents[prompt.prompt_id], self.policies)
        # What it was grown as, and a judge has confirmed.
        kind = prompt.derivation.kind if prompt.derivation else ""
        return kind or None


def _read_kinds(
    lake: Lake, batch: str, policies: Policies, *, with_rehearsed: bool
) -> _Kinds:
    graded: dict[str, PromptKind] = {}
    intents: dict[str, tuple[Intent, ...]] = {}
    rehearsed: set[str] = set()
    for row in _rows(lake, Stage.SEED_COTS, batch, "intents"):
        if with_rehearsed or not row["simulated"]:
            found = tuple(Intent.model_validate(one) for one in row["intents"])
            intents[row["prompt_id"]] = found
            if row["simulated"]:
                rehearsed.add(row["prompt_id"])
    for row in _rows(lake, Stage.COT_GRADES, batch, "prompt_kind"):
        if with_rehearsed or not row["simulated"]:
            graded[row["prompt_id"]] = row["prompt_kind"]
            if row["simulated"]:
                rehearsed.add(row["prompt_id"])
    return _Kinds(graded, intents, policies, frozenset(rehearsed))


def _rows(lake: Lake, stage: Stage, batch: str, column: str) -> list[dict[str, Any]]:
    if not lake.has(stage, batch):
        return []
    rows = lake.rows(stage, batch, ["prompt_id", "simulated", column])
    return rows.to_dicts()


def _leave_out(
    harmful: list[Parent],
    lake: Lake,
    settings: Settings,
    find_matches: FindMatches,
) -> tuple[list[Parent], Mapping[NoParent, int]]:
    matches = find_matches(parent.prompt for parent in harmful)
    contaminated = {*matches, *known_in_evaluation(lake)}
    eligible = []
    left_out = Counter[NoParent]()
    for parent in harmful:
        prompt = parent.prompt
        if prompt.prompt_id in contaminated:
            left_out[NoParent.CONTAMINATED] += 1
        elif splits_near(prompt, settings.splits) != ("train",):
            left_out[NoParent.HELD_OUT] += 1
        elif prompt.is_made_up and not _rehearses(settings):
            left_out[NoParent.MADE_UP] += 1
        else:
            eligible.append(parent)
    return eligible, left_out


def _rehearses(settings: Settings) -> bool:
    return settings.engine == "rehearsal"
