"""What a tryout returns: what became of each prompt, what gates would say, and the cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.batch_recipe import StageRecipe
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate, find_low_scores
from aidsafe_dagster.recipe.records import (
    CotGrades,
    Failure,
    PreferencePair,
    Prompt,
    Record,
    RefinedCot,
    Row,
    Stage,
    TriedBelief,
    Usage,
)
from aidsafe_dagster.recipe.stages import STAGES, stage_named

BATCH = "tryout"
"""The one batch of a tryout's lake."""


class SuiteVerdict(Record):
    """What one suite of a stage's gate says of the tried rows."""

    stage: str
    suite: str
    passed: bool
    closes: bool = Field(
        description="a run would stop here; of a stage that only warns, false"
    )
    detail: str = Field(description="what was expected and what was seen")
    rows: int = Field(description="rows that it judged")


class Spent(Record):
    """What one prompt took."""

    new: Usage = Field(description="of calls that were made, with their money")
    seconds: float = Field(description="from its first stage to its last")


class TryoutFacts(Record):
    """What is true of the whole tryout. Its file `tryout.json`."""

    made: str = Field(description="local time, ISO 8601 with its offset from UTC")
    engine: str
    simulated: bool = Field(description="true for output of the rehearsal engine")
    currency: str = Field(description="of all money; empty without prices")
    settings_hash: str
    policies_version: str
    seconds: float = Field(description="of the whole tryout")
    prompts: tuple[Prompt, ...] = Field(description="in the order in which they came")
    spent: Mapping[str, Spent] = Field(description="by prompt id")
    score_gate: ScoreGate = Field(description="floors of the splits")
    suites: tuple[SuiteVerdict, ...] = ()


@dataclass(frozen=True)
class PromptOutcome:
    """What the recipe made of one prompt, in a tryout or in a run."""

    prompt: Prompt
    rows: Mapping[str, Row]
    """By stage. Rows that a run would hold back are among them."""
    failures: Mapping[str, Failure]
    """By stage, of the stages that made no row."""
    held_back: Mapping[str, Failure]
    """By stage, why a run would hold its row back. Empty where a run has made the rows."""

    @property
    def refined(self) -> RefinedCot | None:
        row = self.rows.get(Stage.REFINED_COTS)
        return row if isinstance(row, RefinedCot) else None

    @property
    def grades(self) -> CotGrades | None:
        row = self.rows.get(Stage.COT_GRADES)
        return row if isinstance(row, CotGrades) else None

    @property
    def pair(self) -> PreferencePair | None:
        row = self.rows.get(Stage.PREFERENCE_PAIRS)
        return row if isinstance(row, PreferencePair) else None

    @property
    def is_failed(self) -> bool:
        """Whether it came to no final chain of thought and response."""
        return self.refined is None

    @property
    def stopped_at(self) -> str | None:
        """The first stage at which a run would have stopped it, None if it would not have."""
        for name in STAGES:
            if stage_named(name).is_baseline:
                continue
            if name in self.failures or name in self.held_back:
                return name
        return None

    @property
    def usage(self) -> Usage:
        """Of all completions behind its rows and failures, replayed ones included."""
        usage = sum((row.usage for row in self.rows.values()), Usage())
        return sum((one.usage for one in self.failures.values()), usage)

    @property
    def is_simulated(self) -> bool:
        """Whether the rehearsal engine made any of its rows."""
        return any(row.simulated for row in self.rows.values())


@dataclass(frozen=True)
class TriedPrompt(PromptOutcome):
    """What a tryout made of one prompt."""

    candidates: tuple[TriedBelief, ...]
    """The beliefs that were tried on the target."""
    spent: Spent
    low_scores: str = ""
    """Why the score gate would keep its rows out of the splits; empty if it would not."""

    @property
    def replayed(self) -> int:
        """Calls that the journal answered."""
        return max(0, self.usage.calls - self.spent.new.calls)


@dataclass(frozen=True, repr=False)
class Tryout:
    """The result of `try_prompts`.

    `prompts` has what became of each prompt, `to_frame` a table of it, and `folder` the same as
    Parquet, which `open_lake(tryout.folder / "lake")` reads.
    """

    prompts: tuple[TriedPrompt, ...]
    facts: TryoutFacts
    recipes: Mapping[str, StageRecipe]
    """By stage, what its rows were made under."""
    folder: Path | None = None
    """Where it is kept; None if it is not kept."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """The texts of its templates, by the value that a recipe has of them."""

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Failures of all prompts and stages, those of pairs that were left out included."""
        failures: list[Failure] = []
        for tried in self.prompts:
            failures.extend(tried.failures.values())
        return tuple(failures)

    @property
    def suites(self) -> tuple[SuiteVerdict, ...]:
        """What the suites of the gates say of the rows. None of them has stopped anything."""
        return self.facts.suites

    @property
    def new_usage(self) -> Usage:
        """Of the calls that were made: what the tryout cost."""
        return sum((tried.spent.new for tried in self.prompts), Usage())

    @property
    def replayed(self) -> int:
        """Calls that the journal answered."""
        return sum(tried.replayed for tried in self.prompts)

    def rows(self, stage: str) -> list[Row]:
        """Return the rows of a stage, in the order of the prompts.

        Raises:
            SetupError: no model makes such a stage; names the nearest one.
        """
        made = [name for name, one in STAGES.items() if one.dialogue is not None]
        if stage not in made:
            raise unknown("stage", stage, made, "tryout")
        return [tried.rows[stage] for tried in self.prompts if stage in tried.rows]

    def to_frame(self, stage: str = "") -> pl.DataFrame:
        """Return a table with a row per prompt; of a stage, the table of its rows.

        Raises:
            SetupError: no model makes such a stage; names the nearest one.
        """
        if stage:
            return to_frame(self.rows(stage), stage_named(stage).record)
        lines = [_line(tried) for tried in self.prompts]
        return pl.DataFrame(lines, schema=_COLUMNS)

    def __repr__(self) -> str:
        done = sum(not tried.is_failed for tried in self.prompts)
        pairs = sum(tried.pair is not None for tried in self.prompts)
        label = "REHEARSAL, " if self.facts.simulated else ""
        return (
            f"<Tryout: {label}{len(self.prompts)} prompts, {done} with a response, "
            f"{pairs} with a pair, {self.new_usage.calls} new calls, "
            f"{self.replayed} replayed>"
        )

    def _repr_html_(self) -> str:
        label = "<p><b>REHEARSAL: simulated by rule, not a model's output.</b></p>"
        # Polars escapes what stands in the cells.
        table = self.to_frame()._repr_html_()
        return label + table if self.facts.simulated else table


def tried_prompt(
    prompt: Prompt,
    rows: Mapping[str, Row],
    failures: Sequence[Failure],
    held_back: Sequence[Failure],
    candidates: Sequence[TriedBelief],
    spent: Spent,
    score_gate: ScoreGate,
) -> TriedPrompt:
    """Put together what became of one prompt."""
    grades = rows.get(Stage.COT_GRADES)
    low_scores = None
    if isinstance(grades, CotGrades):
        low_scores = find_low_scores(grades, score_gate)
    return TriedPrompt(
        prompt=prompt,
        rows=rows,
        failures={failure.stage: failure for failure in failures},
        held_back={failure.stage: failure for failure in held_back},
        candidates=tuple(candidates),
        spent=spent,
        low_scores=low_scores or "",
    )


_COLUMNS: dict[str, Any] = {
    "prompt_id": pl.String,
    "prompt": pl.String,
    "prompt_kind": pl.String,
    "response": pl.String,
    "thoughts": pl.Int64,
    "policy_score": pl.Float64,
    "margin": pl.Float64,
    "failed_at": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "held_back": pl.List(pl.String),
    "calls": pl.Int64,
    "replayed": pl.Int64,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
    "cost": pl.Float64,
    "seconds": pl.Float64,
}


def _line(tried: TriedPrompt) -> dict[str, Any]:
    refined, grades, pair = tried.refined, tried.grades, tried.pair
    failure = next(iter(tried.failures.values()), None)
    held_back = [f"{one.stage}: {one.reason}" for one in tried.held_back.values()]
    new = tried.spent.new
    return {
        "prompt_id": tried.prompt.prompt_id,
        "prompt": tried.prompt.prompt,
        "prompt_kind": grades.prompt_kind if grades else None,
        "response": refined.response if refined else None,
        "thoughts": len(refined.thoughts) if refined else None,
        "policy_score": grades.policy_score if grades else None,
        "margin": pair.margin if pair else None,
        "failed_at": failure.stage if failure else None,
        "reason": str(failure.reason) if failure else None,
        "detail": failure.detail if failure else None,
        "held_back": held_back,
        "calls": new.calls,
        "replayed": tried.replayed,
        "tokens_in": new.prompt_tokens,
        "tokens_out": new.completion_tokens,
        "cost": new.cost,
        "seconds": round(tried.spent.seconds, 3),
    }
