"""How much of what the rehearsal engine plants the pipeline finds, on the bundled prompts.

    python -m benchmarks.planted_truth              all bundled prompts
    python -m benchmarks.planted_truth --limit 20   so many of each source

It takes the prompts through the real dialogues and prints a Markdown table. Every row is
simulated, and every figure follows from the settings. No clock is read.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.planted import (
    PlantedRecords,
    planted_path,
    read_planted,
)
from aidsafe_dagster.recipe.beliefs import BeliefSearch, choose_pair_kind
from aidsafe_dagster.recipe.cot_grades import Versions, grade_versions
from aidsafe_dagster.recipe.deliberated_cots import deliberate
from aidsafe_dagster.recipe.dialogue import Conversation, Dialogue, DialogueTask
from aidsafe_dagster.recipe.records import Failure, Prompt, Row, Stage
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.single_llm_cots import answer_directly
from aidsafe_dagster.recipe.stages import check_row
from aidsafe_dagster.resources.engine_from_settings import make_dialogue_context
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from aidsafe_dagster.sources.ingestion import ingest
from aidsafe_dagster.sources.source import bundled_sources
from aidsafe_dagster.stages.belief_search import search_all
from aidsafe_dagster.stages.planted_truth import (
    Results,
    StageResult,
    compare_with_planted,
)

T = TypeVar("T")


class Rehearsal:
    """One batch of all prompts, stage by stage.

    Args:
        settings: those of the pipeline.
        home: an empty folder for the journal and the records of what is planted.
    """

    def __init__(self, settings: Settings, home: Path) -> None:
        self.results: dict[str, StageResult] = {}
        self._settings = settings
        self._planted = planted_path(home)
        self._engine = RehearsalEngine(settings.rehearsal, self._planted)
        self._journal = Journal(f"sqlite:///{home / 'journal.sqlite'}")
        self._brief = make_dialogue_context(take_snapshot(settings), self._engine)

    @property
    def records(self) -> PlantedRecords:
        return PlantedRecords(read_planted(self._planted, self._engine.model))

    def run(self, prompts: Sequence[Prompt]) -> None:
        """Take the prompts through all stages."""
        settings = self._settings
        self._make(Stage.SINGLE_LLM_COTS, prompts, answer_directly)
        self._make(Stage.SEED_COTS, prompts, seed)
        deliberation = partial(deliberate, settings=settings.deliberation)
        self._make(Stage.DELIBERATED_COTS, self._rows(Stage.SEED_COTS), deliberation)
        self._make(Stage.REFINED_COTS, self._rows(Stage.DELIBERATED_COTS), refine)
        deliberated = self._rows_by_prompt(Stage.DELIBERATED_COTS)
        single_llm = self._rows_by_prompt(Stage.SINGLE_LLM_COTS)

        def grade(conversation: Conversation, row: Any) -> Dialogue[Any]:
            prompt_id = row.prompt_id
            versions = Versions(row, deliberated[prompt_id], single_llm.get(prompt_id))
            return grade_versions(conversation, versions, settings.grading)

        self._make(Stage.COT_GRADES, self._rows(Stage.REFINED_COTS), grade)
        self._make_pairs()

    def close(self) -> None:
        self._journal.close()

    def _make(
        self,
        stage: Stage,
        rows: Sequence[Any],
        dialogue: Callable[[Conversation, Any], Dialogue[Any]],
    ) -> None:
        conversations = [Conversation(self._brief, stage, row) for row in rows]
        tasks = []
        for conversation, row in zip(conversations, rows, strict=True):
            tasks.append(DialogueTask(conversation, dialogue(conversation, row)))
        self._check(stage, conversations, self._drive(tasks)[0])

    def _make_pairs(self) -> None:
        refined = self._rows_by_prompt(Stage.REFINED_COTS)
        searches = []
        for grades in self._rows(Stage.COT_GRADES):
            conversation = Conversation(self._brief, Stage.PREFERENCE_PAIRS, grades)
            kind = choose_pair_kind(grades, self._settings.pairs.over_refusal_share)
            searches.append(
                BeliefSearch(conversation, refined[grades.prompt_id], grades, kind)
            )
        outcome = search_all(searches, self._settings, self._drive, {})
        conversations = [search.conversation for search in searches]
        self._check(Stage.PREFERENCE_PAIRS, conversations, outcome.results)

    def _check(
        self,
        stage: Stage,
        conversations: Sequence[Conversation],
        results: Sequence[Any],
    ) -> None:
        """Put the results through the row gate."""
        rows: list[Row] = []
        failures: list[Failure] = []
        for conversation, result in zip(conversations, results, strict=True):
            if isinstance(result, Failure):
                failures.append(result)
                continue
            finding = check_row(result, self._settings.checks, self._brief.policies)
            if finding:
                failures.append(conversation.failure(*finding, redraw=True))
            else:
                rows.append(result)
        self.results[stage] = StageResult(rows, failures)

    def _rows(self, stage: Stage) -> Sequence[Any]:
        return self.results[stage].rows

    def _rows_by_prompt(self, stage: Stage) -> dict[str, Any]:
        return {row.prompt_id: row for row in self._rows(stage)}

    def _drive(
        self, tasks: Sequence[DialogueTask[T]], _: str = ""
    ) -> tuple[list[T | Failure], Progress]:
        return asyncio.run(
            drive(tasks, self._engine, self._journal, self._settings.driver)
        )


def bundled_prompts(settings: Settings, limit: int | None) -> list[Prompt]:
    """Return the bundled prompts, at most `limit` of each source."""
    sources = [
        source.model_copy(update={"limit": limit}) for source in bundled_sources()
    ]
    batches = ingest(sources, [], settings.ingest, {}).batches
    return [prompt for batch in batches.values() for prompt in batch]


def rehearse(
    settings: Settings, prompts: Sequence[Prompt]
) -> tuple[PlantedRecords, Results]:
    """Return what was planted in a rehearsal of these prompts, and what every stage came to."""
    with TemporaryDirectory() as folder:
        rehearsal = Rehearsal(settings, Path(folder))
        try:
            rehearsal.run(prompts)
            return rehearsal.records, rehearsal.results
        finally:
            rehearsal.close()


def markdown(lines: Sequence[Mapping[str, object]]) -> str:
    """Return the lines as a table."""
    columns = list(lines[0])
    table = [columns, ["---"] * len(columns)]
    table += [[_cell(line[column]) for column in columns] for line in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in table)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("_", " ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--limit", type=int, help="prompts of each bundled source; default: all"
    )
    settings = Settings()
    prompts = bundled_prompts(settings, parser.parse_args().limit)
    lines = compare_with_planted(*rehearse(settings, prompts))
    model = settings.rehearsal.model
    sys.stdout.write(
        f"{len(prompts)} prompts, simulated by {model}\n\n{markdown(lines)}\n"
    )


if __name__ == "__main__":
    main()
