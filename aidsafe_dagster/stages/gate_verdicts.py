"""The verdict of a gate, from the check results that Dagster has recorded.

This module imports no Dagster: `aidsafe status` reads the records itself, because importing Dagster
costs more than everything else that the command does.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from aidsafe_dagster.recipe.stages import stage_named

Verdict = Literal["passed", "failed", "missing", "outdated"]
HISTORY_LIMIT = 20
"""Earlier results of a check that are looked through for one on the present bytes."""


@dataclass(frozen=True)
class CheckResult:
    """What one check said about one partition."""

    has_passed: bool
    fingerprint: str | None
    """Of the bytes that it judged."""
    timestamp: float

    def verdict_on(self, fingerprint: str) -> Verdict:
        """Return what this result says about the bytes with that fingerprint."""
        if self.fingerprint != fingerprint:
            return "outdated"
        return "passed" if self.has_passed else "failed"


@dataclass(frozen=True)
class Gate:
    """The verdicts of a stage's blocking checks on one batch."""

    stage: str
    batch: str
    verdicts: dict[str, Verdict]
    is_half_forgotten: bool = False
    """Somebody is taking the batch back, or a kill cut that off."""

    @cached_property
    def open(self) -> bool:
        if self.is_half_forgotten:
            return False
        # The baseline's checks only warn, but they must have judged the present bytes.
        if stage_named(self.stage).is_baseline:
            return not {"missing", "outdated"}.intersection(self.verdicts.values())
        return all(verdict == "passed" for verdict in self.verdicts.values())

    def __str__(self) -> str:
        if self.is_half_forgotten:
            remedy = f"`aidsafe forget {self.batch}` removes the rest"
            return f"{self.stage} {self.batch}: half forgotten ({remedy})"
        closed = []
        for suite, verdict in self.verdicts.items():
            if verdict != "passed":
                closed.append(f"{suite} {verdict}")
        return f"{self.stage} {self.batch}: {', '.join(closed) or 'passed'}"


def judge_check(
    latest: CheckResult | None,
    read_history: Callable[[], Iterable[CheckResult]],
    fingerprint: str,
) -> Verdict:
    """Return the verdict of one check on the bytes with that fingerprint.

    Args:
        latest: the latest record of the check, None if it holds no result.
        read_history: earlier results. It is called only if the latest record says nothing about
            these bytes. Two runs may overlap, and then the record that was created last may hold no
            result yet, or an older one.
        fingerprint: of the bytes in the lake.
    """
    verdict: Verdict = "missing" if latest is None else latest.verdict_on(fingerprint)
    if verdict in ("passed", "failed"):
        return verdict
    on_these_bytes = [
        result for result in read_history() if result.fingerprint == fingerprint
    ]
    if not on_these_bytes:
        return verdict
    newest = max(on_these_bytes, key=lambda result: result.timestamp)
    return newest.verdict_on(fingerprint)
