"""How much of what the rehearsal engine plants the pipeline finds, on the bundled prompts, through the real dialogues.

    python -m benchmarks.planted_truth              all bundled prompts
    python -m benchmarks.planted_truth --limit 20   so many of each source

Prints a Markdown table. Every row is simulated, and every figure follows from the settings: no clock is read.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.evaluation import Outcome, planted_truth_report
from aidsafe_dagster.engines.rehearsal.fault_plan import FaultPlan
from aidsafe_dagster.quality.predicates import check_row
from aidsafe_dagster.recipe.beliefs import BeliefSearch, kind_of_pair
from aidsafe_dagster.recipe.cot_grades import Versions, grade_versions
from aidsafe_dagster.recipe.deliberated_cots import deliberate
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueTask
from aidsafe_dagster.recipe.records import Failure, Prompt, Row, Stage
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.single_llm_cots import think
from aidsafe_dagster.resources.engine import make_brief
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.ingestion import ingest
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.stages.belief_search import search_all

T = TypeVar("T")
Made = dict[Stage, Outcome]


@dataclass
class Rehearsal:
    """A batch of all prompts, stage by stage."""

    settings: Settings
    journal: Journal
    made: Made = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = RehearsalEngine(self.settings.rehearsal)
        self.brief = make_brief(self.settings, self.engine)

    def of(self, prompts: Sequence[Prompt]) -> Made:
        """What every stage comes to."""
        self.made[Stage.PROMPTS] = Outcome(prompts)
        self._make(Stage.SINGLE_LLM_COTS, prompts, think)
        self._make(Stage.SEED_COTS, prompts, seed)
        deliberated = partial(deliberate, settings=self.settings.deliberation)
        self._make(Stage.DELIBERATED_COTS, self._rows(Stage.SEED_COTS), deliberated)
        self._make(Stage.REFINED_COTS, self._rows(Stage.DELIBERATED_COTS), refine)
        deliberations, baselines = (
            self._by_id(Stage.DELIBERATED_COTS),
            self._by_id(Stage.SINGLE_LLM_COTS),
        )

        def graded(conversation: Conversation, row: Any) -> Dialogue[Any]:
            versions = Versions(row, deliberations[row.prompt_id], baselines.get(row.prompt_id))
            return grade_versions(conversation, versions, self.settings.grading)

        self._make(Stage.COT_GRADES, self._rows(Stage.REFINED_COTS), graded)
        self._pair()
        return self.made

    def _make(
        self,
        stage: Stage,
        rows: Sequence[Any],
        dialogue: Callable[[Conversation, Any], Dialogue[Any]],
    ) -> None:
        conversations = [self._conversation(stage, row) for row in rows]
        cases = [
            DialogueTask(talk, dialogue(talk, row))
            for talk, row in zip(conversations, rows, strict=True)
        ]
        self._judge(stage, conversations, self._drive(cases)[0])

    def _judge(
        self, stage: Stage, conversations: Sequence[Conversation], results: Sequence[Row | Failure]
    ) -> None:
        """The row gate."""
        rows, failures = list[Row](), list[Failure]()
        for conversation, result in zip(conversations, results, strict=True):
            if isinstance(result, Failure):
                failures.append(result)
            elif found := check_row(result, self.settings.checks, self.brief.policies):
                failures.append(conversation.failure(*found, redraw=True))
            else:
                rows.append(result)
        self.made[stage] = Outcome(rows, failures)

    def _pair(self) -> None:
        refined = self._by_id(Stage.REFINED_COTS)
        share = self.settings.pairs.over_refusal_share
        searches = [
            BeliefSearch(
                self._conversation(Stage.PREFERENCE_PAIRS, graded),
                refined[graded.prompt_id],
                graded,
                kind_of_pair(graded, share),
            )
            for graded in self._rows(Stage.COT_GRADES)
        ]
        found = search_all(searches, self.settings, self._drive, {})
        self._judge(
            Stage.PREFERENCE_PAIRS, [search.conversation for search in searches], found.results
        )

    def _rows(self, stage: Stage) -> Sequence[Any]:
        return self.made[stage].rows

    def _by_id(self, stage: Stage) -> dict[str, Any]:
        return {row.prompt_id: row for row in self._rows(stage)}

    def _conversation(self, stage: Stage, row: Prompt) -> Conversation:
        return Conversation(self.brief, stage, row)

    def _drive(
        self, cases: Sequence[DialogueTask[T]], _: str = ""
    ) -> tuple[list[T | Failure], Progress]:
        return asyncio.run(drive(cases, self.engine, self.journal, self.settings.driver))


def bundled_prompts(settings: Settings, limit: int | None) -> list[Prompt]:
    sources = [source.model_copy(update={"limit": limit}) for source in bundled_sources()]
    batches = ingest(sources, [], settings.ingest, {}).batches
    return [prompt for rows in batches.values() for prompt in rows]


def rehearsal_of(settings: Settings, prompts: Sequence[Prompt]) -> Made:
    """What a rehearsal of these prompts comes to, by stage."""
    with TemporaryDirectory() as folder:
        journal = Journal(f"sqlite:///{Path(folder) / 'journal.sqlite'}")
        try:
            return Rehearsal(settings, journal).of(prompts)
        finally:
            journal.close()


def markdown(lines: Sequence[Mapping[str, object]]) -> str:
    columns = list(lines[0])
    rows = [
        columns,
        ["---"] * len(columns),
        *([_cell(line[column]) for column in columns] for line in lines),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("_", " ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--limit", type=int, default=None, help="prompts of each bundled source (all of them)"
    )
    settings = Settings()
    prompts = bundled_prompts(settings, parser.parse_args().limit)
    made = rehearsal_of(settings, prompts)
    lines = planted_truth_report(
        FaultPlan(settings.rehearsal), settings.load_policies(), made, settings.deliberation
    )
    sys.stdout.write(
        f"{len(prompts)} prompts, simulated by {settings.rehearsal.model}\n\n{markdown(lines)}\n"
    )


if __name__ == "__main__":
    main()
