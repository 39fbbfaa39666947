"""Coverage: how many prompts touch each rule, and are of each category, by their kind.

A prompt touches a rule if its final chain of thought cites the rule, or the first one where no
final one is made yet, or if it was made for the rule: then a judge found that the rule decides it.
Its kind is that of its intents, once they are known, and until then the kind it was made as. Of
any other prompt that no batch has made yet, its category is all that is known.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.prompt_kinds import classify_intents
from aidsafe_dagster.recipe.records import Intent, PromptKind, Stage
from aidsafe_dagster.reports.frames import Dataset, open_dataset
from aidsafe_dagster.sources.tables import INGESTED

KINDS: tuple[PromptKind, ...] = ("harmful", "borderline", "benign")
Subject = Literal["rule", "category"]
UNCATEGORISED = ""


class Cell(NamedTuple):
    """What prompts are counted for."""

    subject: Subject
    name: str
    """A rule id, or a category."""
    kind: PromptKind


@dataclass(frozen=True)
class CoveredPrompt:
    """What is known of one prompt."""

    prompt_id: str
    category: str
    rules: frozenset[str]
    kind: PromptKind | None
    """None as long as nobody has looked at its intents."""
    is_made: bool
    """Its intents are known."""
    is_found: bool = True
    """In a source, rather than made for a rule or from another prompt."""


@dataclass(frozen=True)
class Coverage:
    """The prompts of a dataset, counted by rule, category and kind."""

    policies: Policies
    """Those in force."""
    prompts: tuple[CoveredPrompt, ...]
    simulated: bool
    """The rows that it was read from are a rehearsal's."""

    @cached_property
    def counts(self) -> Mapping[Cell, int]:
        counts = Counter[Cell]()
        for prompt in self.prompts:
            counts.update(self.cells_of(prompt))
        return counts

    def cells_of(self, prompt: CoveredPrompt) -> list[Cell]:
        """Return what a prompt counts for; nothing as long as its kind is not known."""
        if prompt.kind is None:
            return []
        rules = [Cell("rule", rule, prompt.kind) for rule in sorted(prompt.rules)]
        categories = categories_of(prompt.category)
        return [*rules, *(Cell("category", name, prompt.kind) for name in categories)]

    @cached_property
    def waiting(self) -> Mapping[str, int]:
        """Prompts whose kind nobody knows yet, by category."""
        counts = Counter[str]()
        for prompt in self.prompts:
            if prompt.kind is None:
                counts.update(categories_of(prompt.category))
        return counts

    @cached_property
    def waiting_by_policy(self) -> Mapping[str, int]:
        """Prompts of which nobody knows kind or rules yet, by the policies of their categories."""
        counts = Counter[str]()
        for prompt in self.prompts:
            if prompt.kind is None:
                for policy in self.policies.policies:
                    counts[policy.id] += policy.concerns(prompt.category)
        return counts

    @property
    def rules(self) -> tuple[str, ...]:
        return self.policies.rule_ids

    @property
    def categories(self) -> tuple[str, ...]:
        """Those of the prompts, sorted; prompts without one last."""
        names = set(self.waiting)
        names.update(cell.name for cell in self.counts if cell.subject == "category")
        return tuple(sorted(names, key=lambda name: (not name, name.casefold(), name)))

    @cached_property
    def found_categories(self) -> tuple[str, ...]:
        """Categories that a source has, rather than prompts that were made alone."""
        names: set[str] = set()
        for prompt in self.prompts:
            if prompt.is_found:
                names.update(categories_of(prompt.category))
        return tuple(name for name in self.categories if name in names)

    @property
    def made(self) -> int:
        """Prompts whose intents are known."""
        return sum(prompt.is_made for prompt in self.prompts)

    @property
    def not_made(self) -> int:
        return len(self.prompts) - self.made

    @property
    def untouched_rules(self) -> tuple[str, ...]:
        """Rules that no prompt touches."""
        touched = {cell.name for cell in self.counts if cell.subject == "rule"}
        return tuple(rule for rule in self.rules if rule not in touched)


def categories_of(category: str) -> tuple[str, ...]:
    """Return the categories of a prompt, of which a source may join several by ';'."""
    names = [name.strip() for name in category.split(";")]
    return tuple(dict.fromkeys(filter(None, names))) or (UNCATEGORISED,)


def measure_coverage(lake: Lake, policies: Policies, engine: str) -> Coverage:
    """Count the prompts of a lake.

    Rows that models made count; simulated rows only if there are no others. What a rehearsal wrote
    was grown for a rule only as long as the engine is the rehearsal.

    Args:
        lake: holds them.
        policies: in force.
        engine: of the settings.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    dataset = open_dataset(lake)
    kinds = _kinds(dataset, policies)
    cited = _cited_rules(dataset)
    prompts = []
    for row in _ingested(lake):
        prompt_id = row["prompt_id"]
        rules = set(cited.get(prompt_id, ()))
        kind = kinds.get(prompt_id)
        made_for = _made_for(row, engine)
        if made_for is not None:
            rules.update(filter(None, [made_for["rule"]]))
            kind = kind or made_for["kind"] or None
        prompts.append(
            CoveredPrompt(
                prompt_id=prompt_id,
                category=row["category"],
                rules=frozenset(rules),
                kind=kind,
                is_made=prompt_id in kinds,
                is_found=row.get("derivation") is None,
            )
        )
    return Coverage(policies, tuple(prompts), dataset.simulated)


def _ingested(lake: Lake) -> Iterator[Mapping[str, Any]]:
    columns = ("prompt_id", "category", "derivation")
    for batch in lake.batches(INGESTED):
        for row in lake.rows(INGESTED, batch, columns).iter_rows(named=True):
            derivation = row.get("derivation")
            # A jailbreak asks for nothing that its prompt does not ask for.
            if derivation is None or derivation["method"] != "wrapper":
                yield row


def _made_for(row: Mapping[str, Any], engine: str) -> Mapping[str, Any] | None:
    """Return the derivation of a prompt that was made for a rule or a kind, or None."""
    derivation: Mapping[str, Any] | None = row.get("derivation")
    if derivation is not None and derivation["simulated"] and engine != "rehearsal":
        return None
    return derivation


def _kinds(dataset: Dataset, policies: Policies) -> dict[str, PromptKind]:
    # Of the seeds: a row that fails later has its intents all the same.
    rows = dataset.map_batches(
        Stage.SEED_COTS,
        ("prompt_id", "intents"),
        lambda rows: rows.with_columns(
            _only("intents", "kind", "harm", "policies"),
        ),
    )
    kinds = {}
    for prompt_id, intents in rows.iter_rows():
        kinds[prompt_id] = classify_intents(_intents(intents), policies)
    return kinds


def _intents(values: Iterable[Mapping[str, Any]]) -> list[Intent]:
    return [Intent.model_construct(text="", **value) for value in values]


def _cited_rules(dataset: Dataset) -> dict[str, set[str]]:
    """Return the rules that each prompt's chain of thought cites, the final one if there is one."""
    cited: dict[str, set[str]] = {}
    for stage in (Stage.SEED_COTS, Stage.REFINED_COTS):
        rows = dataset.map_batches(
            stage,
            ("prompt_id", "thoughts"),
            lambda rows: rows.with_columns(_only("thoughts", "rules")),
        )
        for prompt_id, thoughts in rows.iter_rows():
            cited[prompt_id] = _rules(thoughts)
    return cited


def _rules(thoughts: Sequence[Mapping[str, Any]]) -> set[str]:
    rules: set[str] = set()
    for thought in thoughts:
        rules.update(thought["rules"])
    return rules


def _only(column: str, *names: str) -> pl.Expr:
    """Return a column of lists of structs with these fields alone."""
    fields = [pl.element().struct.field(name) for name in names]
    return pl.col(column).list.eval(pl.struct(*fields))
