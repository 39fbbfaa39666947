"""Asset `safety_eval`: what fine-tuning on the data does to a model's safety, its helpfulness and its knowledge."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.ablations import with_roles
from aidsafe_dagster.assets.adapters import dpo_adapter, sft_adapter
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.evaluation.candidates import as_role, is_rehearsed, require_candidates
from aidsafe_dagster.evaluation.items import Benchmark, load_benchmark
from aidsafe_dagster.evaluation.report import TITLE, safety_report
from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.records import Failure, Role
from aidsafe_dagster.recipe.safety_eval import Candidate, EvaluatedAnswer, evaluate, never_answered
from aidsafe_dagster.recipe.templates import SAFETY_EVAL
from aidsafe_dagster.reports.files import store
from aidsafe_dagster.reports.markdown import markdown_image, markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.runs.liveness import claim_run, heartbeat
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.hub import HubAccess
from aidsafe_dagster.stages.dialogue_stage import in_total
from aidsafe_dagster.stages.metadata import cost_metadata, table
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.stage_asset import OWNERS


class SafetyEvalConfig(dg.Config):
    sample: int | None = Field(
        default=None,
        ge=0,
        description="prompts of each benchmark, 0: all; default: evaluation.sample of the settings",
    )
    candidates: list[str] = Field(
        default=[], description="names of the models to test; empty: all of the settings"
    )


@dg.asset(
    deps=[sft_adapter, dpo_adapter],
    group_name="evaluation",
    kinds={"llm", "markdown"},
    owners=OWNERS,
)
def safety_eval(
    context: dg.AssetExecutionContext,
    config: SafetyEvalConfig,
    engine: EngineResource,
    settings: SettingsResource,
) -> dg.MaterializeResult[Any]:
    """The paper's Table 2 for the models under test: BeaverTails, WildChat, StrongREJECT with jailbreaks, XSTest, MMLU.

    What did not parse and what never came count in the denominator. Answers are in the journal: made again, only new
    models and prompts are asked.
    """
    claim_run(context.instance, context.run)
    loaded, candidates = engine.load(), _chosen(engine.load(), config)
    benchmarks = _benchmarks(loaded, config, engine.brief())
    answers, progress = list[EvaluatedAnswer](), list[Progress]()
    for candidate in candidates:
        own = with_roles(
            engine, settings, {str(Role.CANDIDATE): as_role(candidate, loaded.vllm.lora_adapters)}
        )
        found, spent = _tested(context, own, candidate, benchmarks)
        answers += found
        progress.append(spent)
    rehearsed = [
        candidate.name
        for candidate in candidates
        if is_rehearsed(candidate, loaded.vllm.lora_adapters)
    ]
    shown = _stored(loaded.reports, safety_report(answers, benchmarks, rehearsed), answers)
    return dg.MaterializeResult(metadata={**shown, **cost_metadata(in_total(progress))})


def _chosen(settings: Settings, config: SafetyEvalConfig) -> Sequence[CandidateSettings]:
    """The models to test.

    Raises:
        SetupError: there is none, or none of that name, or the engine is the rehearsal.
    """
    known = {candidate.name: candidate for candidate in settings.evaluation.models}
    require_candidates(list(known.values()), settings.engine)
    if missing := [name for name in config.candidates if name not in known]:
        raise unknown("model", missing[0], known, "safety_eval: candidates")
    return [known[name] for name in config.candidates or known]


def _benchmarks(
    settings: Settings, config: SafetyEvalConfig, brief: DialogueContext
) -> list[Benchmark]:
    size = settings.evaluation.sample if config.sample is None else config.sample
    return [
        load_benchmark(spec, size, brief.templates, HubAccess())
        for spec in settings.evaluation.benchmarks
    ]


def _tested(
    context: dg.AssetExecutionContext,
    engine: EngineResource,
    candidate: CandidateSettings,
    benchmarks: Sequence[Benchmark],
) -> tuple[list[EvaluatedAnswer], Progress]:
    """One model on every item of every benchmark; an item whose dialogue failed is an outcome too."""
    settings, brief = engine.load(), engine.brief()
    tested = Candidate(
        candidate.name, settings.evaluation.temperature, settings.grading.temperature
    )
    items = [item for benchmark in benchmarks for item in benchmark.items]
    talks = [Conversation(brief, SAFETY_EVAL, item.prompt) for item in items]
    cases = [
        DialogueTask(talk, evaluate(talk, item, tested))
        for talk, item in zip(talks, items, strict=True)
    ]
    told = ProgressLog(context.log, candidate.name, f"{len(items)} prompts")
    with heartbeat(context.instance, context.run, settings.automation.lost_after_s):
        results, progress = engine.drive(cases, told, context.log.info)
    context.log.info(told.line(progress))
    answers = [
        never_answered(talk, item, tested, result) if isinstance(result, Failure) else result
        for talk, item, result in zip(talks, items, results, strict=True)
    ]
    return answers, progress


def _stored(folder: Path, report: Report, answers: Sequence[EvaluatedAnswer]) -> dict[str, Any]:
    """Writes the report as Markdown and every answer as Parquet; what the UI shows of them."""
    markdown = store(folder / "safety_eval.md", to_markdown(report, TITLE))
    rows = to_frame(answers, EvaluatedAnswer)
    beside = folder / f".{os.getpid()}-safety_eval.parquet"
    rows.write_parquet(beside)
    parquet = beside.replace(folder / "safety_eval.parquet")
    first, plot = report.sections[0].tables[0], report.sections[0].plots[0]
    label = (
        {"simulated": dg.MetadataValue.md(f"**{report.simulated}**")} if report.simulated else {}
    )
    return {
        **label,
        "results": dg.MetadataValue.md(markdown_table(first)),
        "plot": dg.MetadataValue.md(markdown_image(plot)),
        "outcomes": table(
            Counter(f"{answer.candidate}: {answer.outcome}" for answer in answers), "model: outcome"
        ),
        **report.figures,
        "dagster/row_count": rows.height,
        "markdown": dg.MetadataValue.path(str(markdown)),
        "parquet": dg.MetadataValue.path(str(parquet)),
    }


evaluate_models = dg.define_asset_job(
    "evaluate_models",
    selection=dg.AssetSelection.assets(safety_eval),
    description="Tests the models of the setting evaluation.models on the benchmarks of the paper's Table 2",
)
