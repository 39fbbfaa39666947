"""What the deliberations, the refiner and the judges made of each rule, as prompts by rule.

Rules are counted by their ids. A row that was made under an earlier wording of a rule counts too:
the head of a report says so.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from aidsafe_dagster.quality.statistics import Estimate, proportion
from aidsafe_dagster.recipe.records import Stage, ThoughtVerdict
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.rule_disputes import (
    Debate,
    RulePair,
    likely_disputes,
    named_pairs,
    pairs_in,
    plain_disputes,
    read_debate,
)

Prompts = set[str]
"""Prompt ids."""
MISUSED_BELOW = 4
"""A judge that names a rule and gives faithfulness less than this says that it was misused."""
_LEAST_CONFLICT = 0.3
_LEAST_DISPUTES = 2
_ISOLATED = 0.5
_POLICY_METRICS = ("policy_to_cot", "policy_to_response")
_OWN_VERSIONS = ("refined", "deliberated")
"""What the agents wrote. The baseline and the misled target misuse rules of their own accord."""


def _by_name() -> dict[str, Prompts]:
    return defaultdict(set)


@dataclass
class RuleUse:
    """Prompts by rule, but for `applicable`, which is by policy."""

    applicable: dict[str, Prompts] = field(default_factory=_by_name)
    cited: dict[str, Prompts] = field(default_factory=_by_name)
    """The final chain of thought cites it."""
    discussed: dict[str, Prompts] = field(default_factory=_by_name)
    """A thought of the deliberation cites it."""
    dropped: dict[str, Prompts] = field(default_factory=_by_name)
    """The refiner found a thought that cites it inconsistent with the policies."""
    blamed: dict[str, Prompts] = field(default_factory=_by_name)
    """A judge named it beside a low score of faithfulness."""
    unresolved: dict[str, Prompts] = field(default_factory=_by_name)
    """The agents argued by it in the last two turns, and did not agree."""
    benign: dict[str, Prompts] = field(default_factory=_by_name)
    """The final chain of thought on a benign prompt cites it."""
    refused: dict[str, Prompts] = field(default_factory=_by_name)
    """Of these, the response declines, in part at least."""
    rows: int = 0
    """Prompts whose intents are known."""
    debates: int = 0
    not_agreed: dict[str, frozenset[str]] = field(default_factory=dict)
    """Prompts on which the agents did not agree, with the rules of the last two turns."""
    benign_rows: Prompts = field(default_factory=set)
    refused_rows: Prompts = field(default_factory=set)
    """Benign prompts whose response declines, in part at least."""
    plain: dict[RulePair, Prompts] = field(default_factory=lambda: defaultdict(set))
    """Prompts on which two rules stood against each other for all to see."""
    likely: dict[RulePair, Prompts] = field(default_factory=lambda: defaultdict(set))
    """Prompts on which they may be why the agents did not agree."""
    together: dict[RulePair, Prompts] = field(default_factory=lambda: defaultdict(set))
    """Prompts whose deliberation cites both rules."""

    def misused(self, rule: str) -> Prompts:
        return self.dropped[rule] | self.blamed[rule]


@dataclass(frozen=True)
class Dispute:
    """Two rules that stood against each other."""

    rules: RulePair
    prompts: frozenset[str]
    plain: int
    """Of the prompts, those on which it is plain to see."""
    together: int
    """Deliberations that cite both."""
    not_agreed: int
    """Of the prompts, those on which the agents did not agree."""
    isolation: float
    """0 to 1: how rarely either rule is cited without such a dispute."""

    @cached_property
    def share(self) -> Estimate:
        """Of the deliberations that cite both."""
        estimate = proportion(len(self.prompts), self.together)
        assert estimate is not None
        return estimate

    @property
    def is_conflict(self) -> bool:
        """Whether it is too frequent to be two rules that merely come one after the other."""
        is_repeated = len(self.prompts) >= _LEAST_DISPUTES
        is_frequent = (self.share.low or 0.0) >= _LEAST_CONFLICT
        # A rule that is cited everywhere is cited where agents do not agree as well.
        is_theirs = 2 * self.plain >= len(self.prompts) or self.isolation >= _ISOLATED
        return is_repeated and is_frequent and is_theirs


@dataclass(frozen=True)
class BenignRefusals:
    """How often benign prompts are declined where a final chain of thought cites a rule."""

    rule: str
    prompts: frozenset[str]
    """Declined."""
    rows: int
    """Benign prompts that cite it."""
    other_prompts: int
    """Declined, of the benign prompts that do not cite it."""
    other_rows: int

    @property
    def share(self) -> float:
        return len(self.prompts) / self.rows

    @property
    def other_share(self) -> float:
        return self.other_prompts / self.other_rows if self.other_rows else 0.0

    @property
    def excess(self) -> float:
        """By how much more often benign prompts are declined with the rule than without it."""
        return self.share - self.other_share


def measure_rule_use(dataset: Dataset) -> RuleUse:
    """Read all rows that a report covers.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    use = RuleUse()
    _add_applicable(use, dataset)
    for row in _debate_rows(dataset).iter_rows(named=True):
        _add_debate(use, read_debate(row))
    for row in _refined_rows(dataset).iter_rows(named=True):
        _add_refined(use, row)
    for row in _grade_rows(dataset).iter_rows(named=True):
        _add_grades(use, row)
    # A grade says whether a prompt is benign, and the refined row which rules it cites.
    for rule, prompts in use.cited.items():
        use.benign[rule] = prompts & use.benign_rows
        use.refused[rule] = prompts & use.refused_rows
    return use


def list_disputes(use: RuleUse) -> list[Dispute]:
    """Return the pairs that stood against each other, the clearest conflict first."""
    disputes = []
    for pair in {**use.plain, **use.likely}:
        prompts = use.plain[pair] | use.likely[pair]
        # A judge may name a rule that no thought cites.
        together = use.together[pair] | prompts
        shares = [len(prompts) / len(use.discussed[rule] | prompts) for rule in pair]
        disputes.append(
            Dispute(
                rules=pair,
                prompts=frozenset(prompts),
                plain=len(use.plain[pair]),
                together=len(together),
                not_agreed=len(prompts & use.not_agreed.keys()),
                isolation=min(shares),
            )
        )
    # Where several pairs are cited together alone, the rules that are cited nowhere else lead.
    disputes.sort(
        key=lambda one: (
            -round(one.share.low or 0.0, 3),
            -round(one.isolation, 3),
            -len(one.prompts),
            one.rules,
        )
    )
    return disputes


def list_benign_refusals(use: RuleUse) -> list[BenignRefusals]:
    """Return the rules that declined benign prompts cite, the likeliest cause first."""
    refusals = []
    for rule, prompts in use.refused.items():
        if not prompts:
            continue
        rows = len(use.benign[rule])
        refusals.append(
            BenignRefusals(
                rule,
                frozenset(prompts),
                rows,
                len(use.refused_rows) - len(prompts),
                len(use.benign_rows) - rows,
            )
        )
    refusals.sort(key=lambda one: (-one.excess, -len(one.prompts), one.rule))
    return refusals


def _add_applicable(use: RuleUse, dataset: Dataset) -> None:
    # Of the seeds: a row that fails later had its policies all the same.
    rows = dataset.rows(Stage.SEED_COTS, "prompt_id", "applicable_policies")
    use.rows = rows.height
    for prompt_id, policies in rows.iter_rows():
        for policy in policies:
            use.applicable[policy].add(prompt_id)


def _debate_rows(dataset: Dataset) -> pl.DataFrame:
    # The texts of the thoughts are most of the memory, and not needed.
    return dataset.map_batches(
        Stage.DELIBERATED_COTS,
        ("prompt_id", "outcome", "turns", "thoughts"),
        lambda rows: rows.with_columns(
            _only("thoughts", "rules", "agent", "round"),
            _only("turns", "verdict", "agent", "round", "comment"),
        ),
    )


def _refined_rows(dataset: Dataset) -> pl.DataFrame:
    return dataset.map_batches(
        Stage.REFINED_COTS,
        ("prompt_id", "thoughts", "deliberated_thoughts", "judgements"),
        lambda rows: rows.with_columns(
            _only("thoughts", "rules"),
            _only("deliberated_thoughts", "number", "rules"),
            _only("judgements", "thought", "verdict", "reason"),
        ),
    )


def _grade_rows(dataset: Dataset) -> pl.DataFrame:
    metrics = []
    for metric in _POLICY_METRICS:
        score = pl.element().struct.field(metric)
        metrics.append(
            pl.struct(
                score.struct.field("score").alias("score"),
                score.struct.field("rule").alias("rule"),
                score.struct.field("reason").alias("reason"),
            ).alias(metric)
        )
    fields = [pl.element().struct.field(name) for name in ("version", "refusal")]
    return dataset.map_batches(
        Stage.COT_GRADES,
        ("prompt_id", "prompt_kind", "grades"),
        lambda rows: rows.with_columns(
            pl.col("grades").list.eval(pl.struct(*fields, *metrics))
        ),
    )


def _only(column: str, *names: str) -> pl.Expr:
    """Return a column of lists of structs with these fields alone."""
    fields = [pl.element().struct.field(name) for name in names]
    return pl.col(column).list.eval(pl.struct(*fields))


def _add_debate(use: RuleUse, debate: Debate) -> None:
    use.debates += 1
    rules = debate.rules
    _add(use.discussed, rules, debate.prompt_id)
    _add(use.unresolved, debate.open_rules, debate.prompt_id)
    if not debate.agreed:
        use.not_agreed[debate.prompt_id] = debate.open_rules
    for pair in pairs_in(rules):
        use.together[pair].add(debate.prompt_id)
    for pair in plain_disputes(debate):
        use.plain[pair].add(debate.prompt_id)
    for pair in likely_disputes(debate):
        use.likely[pair].add(debate.prompt_id)


def _add_refined(use: RuleUse, row: Mapping[str, Any]) -> None:
    prompt_id = row["prompt_id"]
    _add(use.cited, _rules(row["thoughts"]), prompt_id)
    reasons = {}
    for judgement in row["judgements"]:
        if judgement["verdict"] == ThoughtVerdict.POLICY_INCONSISTENT:
            reasons[judgement["thought"]] = judgement["reason"]
    for thought in row["deliberated_thoughts"]:
        if thought["number"] in reasons:
            _add(use.dropped, thought["rules"], prompt_id)
            reason = reasons[thought["number"]]
            _add_named(use, named_pairs(reason, thought["rules"]), prompt_id)


def _add_grades(use: RuleUse, row: Mapping[str, Any]) -> None:
    prompt_id = row["prompt_id"]
    is_benign = row["prompt_kind"] == "benign"
    for grade in row["grades"]:
        if grade["version"] not in _OWN_VERSIONS:
            continue
        for metric in _POLICY_METRICS:
            score = grade[metric]
            if score["rule"] and score["score"] < MISUSED_BELOW:
                use.blamed[score["rule"]].add(prompt_id)
                pairs = named_pairs(score["reason"], (score["rule"],))
                _add_named(use, pairs, prompt_id)
        if is_benign and grade["version"] == "refined":
            use.benign_rows.add(prompt_id)
            if grade["refusal"] != "none":
                use.refused_rows.add(prompt_id)


def _add_named(use: RuleUse, pairs: Iterable[RulePair], prompt_id: str) -> None:
    for pair in pairs:
        use.plain[pair].add(prompt_id)


def _rules(thoughts: Sequence[Mapping[str, Any]]) -> set[str]:
    rules: set[str] = set()
    for thought in thoughts:
        rules.update(thought["rules"])
    return rules


def _add(
    prompts_by_rule: dict[str, Prompts], rules: Iterable[str], prompt: str
) -> None:
    for rule in rules:
        prompts_by_rule[rule].add(prompt)
