"""What became of test cases since an earlier run: after a change of wording, mostly."""

from collections.abc import Mapping
from dataclasses import dataclass

from aidsafe_dagster.policy_work.case_run import CaseOutcome, CaseRun
from aidsafe_dagster.tryout.comparison import ChangedText


@dataclass(frozen=True)
class ChangedCase:
    """A case in both runs."""

    before: CaseOutcome
    after: CaseOutcome

    @property
    def is_other_response(self) -> bool:
        return self.before.response.split() != self.after.response.split()


@dataclass(frozen=True)
class CaseDiff:
    rules: tuple[ChangedText, ...]
    """Rules whose wording differs, or that one side alone has."""
    models: tuple[str, str] | None
    """The models of both runs, if they differ."""
    broken: tuple[ChangedCase, ...]
    """They passed, and fail now."""
    mended: tuple[ChangedCase, ...]
    """They failed, and pass now."""
    moved: tuple[ChangedCase, ...]
    """With the same verdict, and another response or other rules."""
    added: tuple[str, ...]
    gone: tuple[str, ...]
    same: int
    """Cases of which nothing differs."""


def compare_runs(before: CaseRun, after: CaseRun) -> CaseDiff:
    """Return what differs between two runs, case by case, by the cases' names."""
    earlier = {outcome.name: outcome for outcome in before.outcomes}
    broken, mended, moved = [], [], []
    added = []
    same = 0
    for outcome in after.outcomes:
        if outcome.name not in earlier:
            added.append(outcome.name)
            continue
        case = ChangedCase(earlier[outcome.name], outcome)
        if case.before.passed and not outcome.passed:
            broken.append(case)
        elif outcome.passed and not case.before.passed:
            mended.append(case)
        elif case.is_other_response or case.before.cited != outcome.cited:
            moved.append(case)
        else:
            same += 1
    names = {outcome.name for outcome in after.outcomes}
    models = None
    if before.models != after.models:
        models = (", ".join(before.models), ", ".join(after.models))
    return CaseDiff(
        rules=tuple(_changed_rules(before.rules, after.rules)),
        models=models,
        broken=tuple(broken),
        mended=tuple(mended),
        moved=tuple(moved),
        added=tuple(added),
        gone=tuple(name for name in earlier if name not in names),
        same=same,
    )


def _changed_rules(
    before: Mapping[str, str], after: Mapping[str, str]
) -> list[ChangedText]:
    changed = []
    for rule in dict.fromkeys((*after, *before)):
        one, other = before.get(rule, ""), after.get(rule, "")
        if one != other:
            changed.append(ChangedText(rule, one, other))
    return changed
