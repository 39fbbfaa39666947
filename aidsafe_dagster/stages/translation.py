"""Translate the rows of a batch: through the run's engine, the journal and the limits.

What is translated already is in the journal, so a run that was killed goes on where it stopped, and
a run over unchanged rows asks nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import table_of
from aidsafe_dagster.recipe.dialogue import DialogueTask
from aidsafe_dagster.recipe.fine_tune_splits import assign_split, cluster_of
from aidsafe_dagster.recipe.formats import is_ambiguous
from aidsafe_dagster.recipe.records import (
    Failure,
    FailureReason,
    FineTuneRow,
    Prompt,
    Stage,
    Usage,
)
from aidsafe_dagster.recipe.translation import (
    TranslatedRow,
    TranslatorContext,
    is_in_language,
    originals,
    translate,
    translated_conversation,
)
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.clusters import similar_prompts
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.decontamination import Decontamination
from aidsafe_dagster.stages.dialogue_stage import stored_redraws
from aidsafe_dagster.stages.progress_log import ProgressLog


@dataclass
class TranslationCounts:
    """What became of the rows of a batch in one language."""

    batch: str
    language: str
    prompts: int
    """In the train split."""
    same_language: int = 0
    """In that language already, so nobody translates them."""
    rows: int = 0
    pairs: int = 0
    """Of the rows, those with a rejected side."""
    failures: list[Failure] = field(default_factory=list)
    progress: Progress = field(default_factory=lambda: Progress(rows=0))

    @property
    def usage(self) -> Usage:
        """Of the calls that were made now."""
        return self.progress.usage


@dataclass(frozen=True)
class Translator:
    """What all batches of a run share."""

    context: dg.AssetExecutionContext
    engine: EngineResource
    lake: Lake
    dialogue_context: TranslatorContext
    decontamination: Decontamination

    @property
    def settings(self) -> Settings:
        return self.engine.snapshot.settings

    def translate(
        self, batch: str, language: str, *, without_dpo: bool
    ) -> TranslationCounts:
        """Translate the rows of a batch that hold now, and store the translations."""
        every = originals(self._read_rows(batch, without_dpo=without_dpo))
        due = [
            original
            for original in every
            if not is_in_language(original, self.dialogue_context, language)
        ]
        counts = TranslationCounts(batch, language, len(every))
        counts.same_language = len(every) - len(due)
        table = table_of(language)
        redraws = stored_redraws(self.lake, table, batch)
        tasks = []
        for original in due:
            calls = redraws.get(original.sft.prompt_id, ())
            conversation = translated_conversation(
                self.dialogue_context, original, calls
            )
            dialogue = translate(conversation, original, language)
            tasks.append(DialogueTask(conversation, dialogue))
        results, counts.progress = self._drive(tasks, f"{table}, {batch}")
        translations, counts.failures = self._select(results)
        counts.rows = len(translations)
        counts.pairs = sum(bool(row.rejected_response) for row in translations)
        self.lake.store(table, batch, translations, TranslatedRow, counts.failures)
        self.decontamination.record(self.lake, table, batch)
        return counts

    def _read_rows(self, batch: str, *, without_dpo: bool) -> list[FineTuneRow]:
        rows = self.lake.records(Stage.FINE_TUNE_SPLITS, batch, FineTuneRow)
        # A row in which nobody could tell where the reasoning ends is not trained on.
        return [
            row
            for row in rows
            if not is_ambiguous(row) and not (without_dpo and row.kind == "dpo")
        ]

    def _drive(
        self, tasks: Sequence[DialogueTask[TranslatedRow]], name: str
    ) -> tuple[list[TranslatedRow | Failure], Progress]:
        log = self.context.log
        subject = f"{len(tasks)} prompts"
        progress_log = ProgressLog(log, name, subject, self.settings.currency)
        results, progress = self.engine.drive(tasks, progress_log, log.info)
        progress_log.log_end(progress)
        return results, progress

    def _select(
        self, results: Sequence[TranslatedRow | Failure]
    ) -> tuple[list[TranslatedRow], list[Failure]]:
        """Part the translations that may be trained on from the others."""
        failures = [one for one in results if isinstance(one, Failure)]
        rows = [_with_own_id(one) for one in results if isinstance(one, TranslatedRow)]
        matches = self.decontamination.find(rows)
        kept = []
        for row, near in zip(rows, self._splits_near(rows), strict=True):
            if row.prompt_id in matches:
                reason, detail = FailureReason.CONTAMINATED, str(matches[row.prompt_id])
            elif near:
                reason, detail = FailureReason.BRIDGES_SPLITS, near
            else:
                kept.append(row)
                continue
            failures.append(_left_out(row, reason, detail))
        return kept, failures

    def _splits_near(self, rows: Sequence[TranslatedRow]) -> list[str]:
        """Return for each row the prompt that it is near to in another split; mostly none."""
        threshold = self.settings.ingest.cluster_threshold
        near = []
        for prompts in similar_prompts(rows, list(_ingested(self.lake)), threshold):
            others = []
            for prompt in prompts:
                split = assign_split(cluster_of(prompt), self.settings.splits)
                if split != "train":
                    others.append(f"near to {prompt.prompt_id} of the {split} split")
            near.append("; ".join(others))
        return near


def _ingested(lake: Lake) -> Iterator[Prompt]:
    for batch in lake.batches(INGESTED):
        yield from lake.records(INGESTED, batch, Prompt)


def _with_own_id(row: TranslatedRow) -> TranslatedRow:
    return row.model_copy(update={"prompt_id": prompt_id(row.whole)})


def _left_out(row: TranslatedRow, reason: FailureReason, detail: str) -> Failure:
    # Under the id of the original, by which people know it.
    return Failure(
        prompt_id=row.translated_from,
        batch=row.batch,
        stage=table_of(row.language),
        reason=reason,
        detail=detail,
        role="",
        turn=0,
        redraws=(),
        usage=row.usage,
    )
