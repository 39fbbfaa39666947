"""Asset `translations`: rows of the training data in other languages, made on demand."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.publishing.dataset import drop_outdated
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES
from aidsafe_dagster.recipe.records import Failure, Stage, Usage
from aidsafe_dagster.recipe.translation import translator_context
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.stages.batch_selection import select_for_release
from aidsafe_dagster.stages.decontamination import open_decontamination
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import record_table
from aidsafe_dagster.stages.stage_asset import OWNERS
from aidsafe_dagster.stages.translation import TranslationCounts, Translator


class TranslationConfig(dg.Config):
    languages: list[str] = Field(description="codes of the languages: de, zh, ar …")
    batches: list[str] = Field(
        default=[], description="these alone; empty: all that passed their gates"
    )


@dg.asset(
    deps=[dg.AssetKey(str(Stage.FINE_TUNE_SPLITS))],
    group_name="release",
    kinds={"llm", "parquet"},
    owners=OWNERS,
)
def translations(
    context: dg.AssetExecutionContext,
    config: TranslationConfig,
    engine: EngineResource,
    lake: LakeResource,
) -> Materialized:
    """Rows of the train split in other languages, prompt, reasoning and response alike.

    A translation stays in the cluster of its original, and is checked against the evaluation sets.
    Exports, releases and training take it in for as long as its original is there unchanged.

    Raises:
        SetupError: a language is not known, or no batch has passed its gates.
    """
    for language in config.languages:
        if language not in LANGUAGE_NAMES:
            raise unknown("language", language, LANGUAGE_NAMES, "translate")
    opened = lake.open()
    snapshot = engine.snapshot
    selection = drop_outdated(
        opened, select_for_release(context.instance, opened).narrowed(config.batches)
    )
    if not selection.batches:
        reasons = [f"{batch}: {why}" for batch, why in selection.left_out.items()]
        listing = "; ".join(reasons) or "nothing was ingested"
        raise SetupError(f"there is nothing to translate: {listing}")
    translator = Translator(
        context,
        engine,
        opened,
        translator_context(engine.dialogue_context(), snapshot.settings.prompts),
        open_decontamination(snapshot.settings),
    )
    counts = []
    for language in dict.fromkeys(config.languages):
        for batch in selection.batches:
            without_dpo = batch in selection.without_dpo
            one = translator.translate(batch, language, without_dpo=without_dpo)
            counts.append(one)
    simulated = translator.dialogue_context.simulated
    return materialized(snapshot, _metadata(counts), simulated=simulated)


translate = dg.define_asset_job(
    "translate",
    selection=dg.AssetSelection.assets(translations),
    description="Puts the rows of the train split into other languages",
)


def _metadata(counts: Sequence[TranslationCounts]) -> dict[str, Any]:
    failures: list[Failure] = []
    for one in counts:
        failures.extend(one.failures)
    usage = sum((one.usage for one in counts), Usage())
    reasons = [
        {
            "prompt_id": failure.prompt_id,
            "table": failure.stage,
            "reason": str(failure.reason),
            "detail": failure.detail,
        }
        for failure in failures
    ]
    return {
        "translated": record_table([_line(one) for one in counts]),
        "failed_rows": record_table(
            reasons, columns=("prompt_id", "table", "reason", "detail")
        ),
        "dagster/row_count": sum(one.rows for one in counts),
        "failed": len(failures),
        "calls_made": sum(one.progress.calls_made for one in counts),
        "calls_replayed": sum(one.progress.replayed for one in counts),
        "tokens_in": usage.prompt_tokens,
        "tokens_in_cached": usage.cached_tokens,
        "tokens_out": usage.completion_tokens,
        "tokens_reasoning": usage.reasoning_tokens,
        "cost": usage.cost,
    }


def _line(one: TranslationCounts) -> dict[str, Any]:
    return {
        "batch": one.batch,
        "language": one.language,
        "prompts": one.prompts,
        "already": one.same_language,
        "rows": one.rows,
        "pairs": one.pairs,
        "failed": len(one.failures),
    }
