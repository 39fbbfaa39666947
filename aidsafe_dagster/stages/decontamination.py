"""Decontamination, in `prompts` before any model is asked, and once more in `fine_tune_splits`.

The second check catches sets that were configured, or mended, after the prompts were taken up. What
each stage of a batch was checked against is kept in the table `evaluation_sets`; it is outdated
when the settings say otherwise.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import EVALUATION_SETS
from aidsafe_dagster.recipe.records import Failure, FailureReason, Prompt, Stage, Usage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.compared_turns import compared_texts
from aidsafe_dagster.sources.contamination import Match, find_contaminated
from aidsafe_dagster.sources.evaluation_sets import (
    CheckedSet,
    EvaluationSet,
    read_evaluation_sets,
)
from aidsafe_dagster.stages.metadata import count_table, record_table

CHECKED_STAGES = (Stage.PROMPTS, Stage.FINE_TUNE_SPLITS)
UNCHECKED = "none"
"""Version without any evaluation set."""
_RULES_VERSION = "4"
"""To be raised when a rule finds other prompts than before."""
NOTHING_CHECKED = (
    "**No evaluation set is configured: these prompts were checked against none.**"
)


def decontamination_version(settings: Settings) -> str:
    """Hash the configured evaluation sets, the bytes of those that are files, and the thresholds.

    Reads no dataset: a set on the Hub counts by the revision that the settings name.
    """
    if not settings.decontamination.sets:
        return UNCHECKED
    # A path says where a set lies, not what is in it. The bytes of the file count instead.
    without_paths = {"sets": {"__all__": {"path"}}}
    sets = settings.decontamination.model_dump_json(exclude=without_paths)
    # Another embedding model finds other prompts similar.
    model = f"{settings.embeddings.base_url} {settings.embeddings.model}"
    text = f"{_RULES_VERSION} {model} {sets}"
    digest = hashlib.blake2b(text.encode(), digest_size=6)
    for spec in settings.decontamination.sets:
        # Loading the code location comes through here and must not fail. A missing file is
        # reported when the sets are read.
        if spec.path and spec.path.is_file():
            digest.update(spec.path.read_bytes())
    return digest.hexdigest()


def checked_version(lake: Lake, stage: str, batch: str) -> str:
    """Return the version of the sets that a stage of a batch was checked against."""
    for row in _checked_sets(lake, batch):
        if row.stage == stage:
            return row.version
    return UNCHECKED


@dataclass(frozen=True)
class Decontamination:
    """The evaluation sets in force, already read."""

    settings: Settings
    sets: tuple[EvaluationSet, ...]

    def find(self, prompts: Iterable[Prompt]) -> dict[str, Match]:
        """Return the match of each prompt that is in a set, by prompt id."""
        owners, texts = list[str](), list[str]()
        for prompt in {prompt.prompt_id: prompt for prompt in prompts}.values():
            parts = compared_texts(prompt.prompt_turns)
            if prompt.derivation:
                # An encoded wrapper, or a twin, has other words than the prompt behind it.
                parts += prompt.derivation.parent_texts
            owners += [prompt.prompt_id] * len(parts)
            texts += parts
        matches = find_contaminated(
            texts,
            self.sets,
            self.settings.decontamination,
            embedder(self.settings.embeddings),
        )
        matches_by_prompt: dict[str, Match] = {}
        for prompt_id, match in zip(owners, matches, strict=True):
            if match:
                # The whole conversation comes first, then its turns.
                matches_by_prompt.setdefault(prompt_id, match)
        return matches_by_prompt

    def record(self, lake: Lake, stage: str, batch: str) -> None:
        """Record what the stage was checked against.

        Comes after the rows are written: after a kill in between they are checked again.
        """
        # Without sets there is nothing to record, but an earlier record has to be withdrawn.
        if not self.sets and not lake.has(EVALUATION_SETS, batch):
            return
        version = decontamination_version(self.settings)
        rows = [row for row in _checked_sets(lake, batch) if row.stage != stage]
        for evaluation_set in self.sets:
            rows.append(_checked_set(evaluation_set, stage, batch, version))
        lake.store(EVALUATION_SETS, batch, rows, CheckedSet)

    def metadata(self, failures: Sequence[Failure]) -> dict[str, Any]:
        """Return what was searched for, and what was found."""
        if not self.sets:
            return {"decontamination": dg.MetadataValue.md(NOTHING_CHECKED)}
        lines = []
        for failure in failures:
            if failure.reason is FailureReason.CONTAMINATED:
                lines.append({"prompt_id": failure.prompt_id, "match": failure.detail})
        set_sizes = {}
        for evaluation_set in self.sets:
            set_sizes[evaluation_set.name] = len(evaluation_set.prompts)
        return {
            "decontamination_version": decontamination_version(self.settings),
            "evaluation_sets": count_table(set_sizes, "set"),
            "contaminated": len(lines),
            "contaminated_rows": record_table(lines, columns=("prompt_id", "match")),
        }


def open_decontamination(settings: Settings) -> Decontamination:
    """Read the configured sets.

    Raises:
        SetupError: one of them cannot be read. No prompt counts as clean because nobody looked.
    """
    return Decontamination(
        settings,
        read_evaluation_sets(settings.decontamination.sets, bounds=settings.ingest),
    )


def left_out(row: Prompt, stage: Stage, reason: FailureReason, detail: str) -> Failure:
    """Return the account of a sound row that does not go on."""
    return Failure(
        prompt_id=row.prompt_id,
        batch=row.batch,
        stage=stage,
        reason=reason,
        detail=detail,
        role="",
        turn=0,
        # No answer was at fault, so a later run has nothing to draw again.
        redraws=(),
        usage=Usage(),
    )


def _checked_sets(lake: Lake, batch: str) -> list[CheckedSet]:
    if not lake.has(EVALUATION_SETS, batch):
        return []
    return lake.records(EVALUATION_SETS, batch, CheckedSet)


def _checked_set(
    evaluation_set: EvaluationSet, stage: str, batch: str, version: str
) -> CheckedSet:
    return CheckedSet(
        stage=stage,
        batch=batch,
        set=evaluation_set.name,
        origin=evaluation_set.origin,
        revision=evaluation_set.revision,
        prompts=len(evaluation_set.prompts),
        skipped=evaluation_set.skipped,
        content=evaluation_set.version,
        version=version,
    )
