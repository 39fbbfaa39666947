"""Decontamination where it is done: in `prompts`, before any model is asked, and in `fine_tune_splits` once more.

The second look catches sets that were configured, or mended, after the prompts were taken up. What each stage of a
batch was checked against is kept in the table `evaluation_sets`: it is out of date when the settings say otherwise.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.recipe.records import Failure, FailureReason, Prompt, Stage, Usage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.contamination import Match, find_contaminated
from aidsafe_dagster.sources.evaluation_sets import CheckedSet, EvaluationSet, read_evaluation_sets
from aidsafe_dagster.stages.metadata import table

CHECKING = (Stage.PROMPTS, Stage.FINE_TUNE_SPLITS)
EVALUATION_SETS = "evaluation_sets"
UNCHECKED = "none"
"""Version without any evaluation set."""
_RULES = "1"  # to be raised when a rule finds other prompts than before
NOTHING_CHECKED = "**No evaluation set is configured: these prompts were checked against none.**"


def decontamination_version(settings: Settings) -> str:
    """Hash of the evaluation sets as configured, the bytes of those that are files, and the thresholds.

    Reads no dataset: a set on the Hub counts with the revision that the settings name.
    """
    if not settings.decontamination.sets:
        return UNCHECKED
    written = settings.decontamination.model_dump_json(exclude={"sets": {"__all__": {"path"}}})
    model = f"{settings.embeddings.base_url} {settings.embeddings.model}"
    digest = hashlib.blake2b(f"{_RULES} {model} {written}".encode(), digest_size=6)
    for path in (spec.path for spec in settings.decontamination.sets if spec.path):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def checked_version(lake: Lake, stage: Stage, batch: str) -> str:
    """The version that a stage of a batch was checked with."""
    return next((row.version for row in _checked(lake, batch) if row.stage == stage), UNCHECKED)


@dataclass(frozen=True)
class Decontamination:
    """The evaluation sets in force, read."""

    settings: Settings
    sets: tuple[EvaluationSet, ...]

    def find(self, prompts: Iterable[Prompt]) -> dict[str, Match]:
        """By prompt id, the prompts that are in a set, with what they match."""
        texts = {prompt.prompt_id: prompt.prompt for prompt in prompts}
        matches = find_contaminated(
            list(texts.values()),
            self.sets,
            self.settings.decontamination,
            embedder(self.settings.embeddings),
        )
        return {prompt_id: match for prompt_id, match in zip(texts, matches, strict=True) if match}

    def remember(self, lake: Lake, stage: Stage, batch: str) -> None:
        """Notes what the stage was checked against. Comes after the rows: a kill in between has them checked again."""
        if not self.sets and not lake.has(EVALUATION_SETS, batch):
            return
        others = [row for row in _checked(lake, batch) if row.stage != stage]
        version = decontamination_version(self.settings)
        ours = [_checked_set(one, stage, batch, version) for one in self.sets]
        lake.write(EVALUATION_SETS, batch, to_frame([*others, *ours], CheckedSet))

    def metadata(self, found: Sequence[Failure]) -> dict[str, Any]:
        """What was looked for, and what was found."""
        if not self.sets:
            return {"decontamination": dg.MetadataValue.md(NOTHING_CHECKED)}
        rows = [failure for failure in found if failure.reason is FailureReason.CONTAMINATED]
        return {
            "decontamination_version": decontamination_version(self.settings),
            "evaluation_sets": table({one.name: len(one.prompts) for one in self.sets}, "set"),
            "contaminated": len(rows),
            "contaminated_rows": dg.MetadataValue.table(
                [dg.TableRecord({"prompt_id": row.prompt_id, "match": row.detail}) for row in rows],
                schema=dg.TableSchema([dg.TableColumn("prompt_id"), dg.TableColumn("match")]),
            ),
        }


def open_decontamination(settings: Settings) -> Decontamination:
    """Reads the sets of the settings.

    Raises:
        SetupError: one of them cannot be read; nothing is taken for clean unseen.
    """
    return Decontamination(settings, read_evaluation_sets(settings.decontamination.sets))


def left_out(row: Prompt, stage: Stage, reason: FailureReason, seen: str) -> Failure:
    """The account of a sound row that does not go on."""
    return Failure(
        prompt_id=row.prompt_id,
        batch=row.batch,
        stage=stage,
        reason=reason,
        detail=seen,
        role="",
        turn=0,
        redraws=(),
        usage=Usage(),
    )


def _checked(lake: Lake, batch: str) -> list[CheckedSet]:
    return (
        from_frame(lake.rows(EVALUATION_SETS, batch), CheckedSet)
        if lake.has(EVALUATION_SETS, batch)
        else []
    )


def _checked_set(one: EvaluationSet, stage: Stage, batch: str, version: str) -> CheckedSet:
    return CheckedSet(
        stage=stage,
        batch=batch,
        set=one.name,
        origin=one.origin,
        revision=one.revision,
        prompts=len(one.prompts),
        skipped=one.skipped,
        content=one.version,
        version=version,
    )
