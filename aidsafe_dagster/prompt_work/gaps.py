"""Where a dataset is thin, and how many prompts are wanted there: the thinnest places first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aidsafe_dagster.prompt_work.coverage import KINDS, Cell, Coverage
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.grown_prompts import Wanted
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import PromptKind

_BENIGN = "benign"


@dataclass(frozen=True)
class Scope:
    """What a person wants looked at; empty: everything."""

    rules: tuple[str, ...] = ()
    """Rule ids, or policy ids for all of their rules."""
    categories: tuple[str, ...] = ()
    kinds: tuple[PromptKind, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.rules and not self.categories


@dataclass(frozen=True)
class Gap:
    """A place with fewer prompts than it is to have."""

    cell: Cell
    present: int
    missing: int


def find_gaps(coverage: Coverage, scope: Scope, target: int, most: int) -> list[Gap]:
    """Return the places below the target, with `most` missing prompts in all.

    Rules are looked at in all kinds. Categories are looked at in the kinds that they have, since
    many a category is of one kind; where one is named, in all kinds.

    Raises:
        SetupError: the scope names a rule that is not there; says which ones are.
    """
    cells = [*_rule_cells(coverage, scope), *_category_cells(coverage, scope)]
    steps = []
    for place, cell in enumerate(cells):
        # Prompt after prompt, so that what is bounded is spread over the thinnest places.
        for count in range(coverage.counts.get(cell, 0), target):
            steps.append((count, place))
    missing = dict.fromkeys(cells, 0)
    for _, place in sorted(steps)[:most]:
        missing[cells[place]] += 1
    gaps = [Gap(cell, coverage.counts.get(cell, 0), missing[cell]) for cell in cells]
    return [gap for gap in gaps if gap.missing]


def wanted_of(cell: Cell, policies: Policies) -> Wanted:
    """Return what prompts for a place are to be."""
    is_rule = cell.subject == "rule"
    text = policies.rule(cell.name) if is_rule else cell.name
    return Wanted(cell.name, text, is_rule, cell.kind)


def category_for(cell: Cell, policies: Policies) -> str:
    """Return the category of prompts that are grown for a place: for a rule, its policy's title.

    A policy may list several categories, and nobody has said which of them a prompt is of. A benign
    prompt gets no title, which may be a category that the policy always applies to.
    """
    if cell.subject == "category":
        return cell.name
    if cell.kind == "benign":
        return _BENIGN
    policy_id = cell.name.partition(".")[0]
    return next(one.title for one in policies.policies if one.id == policy_id)


def _rule_cells(coverage: Coverage, scope: Scope) -> list[Cell]:
    if scope.categories and not scope.rules:
        return []
    rules = _rules_in(scope, coverage.policies)
    kinds = scope.kinds or KINDS
    return [Cell("rule", rule, kind) for rule in rules for kind in kinds]


def _rules_in(scope: Scope, policies: Policies) -> Sequence[str]:
    if not scope.rules:
        return policies.rule_ids
    chosen: list[str] = []
    for name in scope.rules:
        rules = [
            rule for rule in policies.rule_ids if name in (rule, rule.partition(".")[0])
        ]
        if not rules:
            known = [*policies.rule_ids, *policies.ids]
            raise unknown("rule", name, known, "prompts grow --rule")
        chosen.extend(rules)
    return list(dict.fromkeys(chosen))


def _category_cells(coverage: Coverage, scope: Scope) -> list[Cell]:
    if scope.categories:
        kinds = scope.kinds or KINDS
        return [
            Cell("category", name, kind) for name in scope.categories for kind in kinds
        ]
    if scope.rules:
        return []
    cells = []
    for category in filter(None, coverage.found_categories):
        for kind in scope.kinds or KINDS:
            cell = Cell("category", category, kind)
            if coverage.counts.get(cell):
                cells.append(cell)
    return cells


def planned(gaps: Collection[Gap]) -> int:
    """Return the prompts that are missing in all."""
    return sum(gap.missing for gap in gaps)
