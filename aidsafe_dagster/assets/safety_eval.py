"""Asset `safety_eval`: how fine-tuning on the data changes a model's safety, helpfulness and
knowledge.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from aidsafe_dagster.assets.adapters import dpo_adapter, sft_adapter
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.evaluation.candidates import (
    candidate_role,
    is_rehearsed,
    require_candidates,
)
from aidsafe_dagster.evaluation.held_out import (
    held_out_benchmark,
    held_out_results,
    read_held_out,
)
from aidsafe_dagster.evaluation.items import Benchmark, load_benchmark
from aidsafe_dagster.evaluation.report import (
    FORM_TITLE,
    HELD_OUT_TITLE,
    TITLE,
    safety_report,
)
from aidsafe_dagster.evaluation.settings import CandidateSettings
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueTask
from aidsafe_dagster.recipe.errors import EngineUnusable, unknown
from aidsafe_dagster.recipe.held_out import (
    HeldOutScore,
    prompt_of,
    score_row,
    unscored,
)
from aidsafe_dagster.recipe.records import Failure, FineTuneRow, Role
from aidsafe_dagster.recipe.safety_eval import (
    EvaluatedAnswer,
)
from aidsafe_dagster.recipe.templates import SAFETY_EVAL, Templates
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.markdown import markdown_image, markdown_table, to_markdown
from aidsafe_dagster.reports.sections import Report
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.resources.lake import LakeResource
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.hub_access import HubAccess
from aidsafe_dagster.stages.batch_selection import select_for_training
from aidsafe_dagster.stages.benchmark_answers import ask_benchmarks
from aidsafe_dagster.stages.dialogue_stage import total_progress
from aidsafe_dagster.stages.materialization import Materialized, materialized
from aidsafe_dagster.stages.metadata import cost_metadata, count_table
from aidsafe_dagster.stages.progress_log import ProgressLog
from aidsafe_dagster.stages.roles import engine_one_call_at_a_time, engine_with_roles
from aidsafe_dagster.stages.stage_asset import OWNERS


class SafetyEvalConfig(dg.Config):
    sample: int | None = Field(
        default=None,
        ge=0,
        description="prompts of each benchmark, 0: all; default: evaluation.sample of the settings",
    )
    candidates: list[str] = Field(
        default=[],
        description="names of the models to test; empty: all of the settings",
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
    lake: LakeResource,
    settings: SettingsResource,
) -> Materialized:
    """The paper's Table 2 for the models under test.

    BeaverTails, WildChat, StrongREJECT with jailbreaks, XSTest, MMLU. Answers that do not parse and
    answers that never came stay in the denominator. Answers are in the journal: made again, it asks
    only new models and prompts.
    """
    snapshot = engine.snapshot
    loaded = snapshot.settings
    candidates = _candidates(loaded, config)
    held_out = _held_out_rows(context, loaded, lake.open())
    benchmarks = _benchmarks(loaded, config, snapshot.templates)
    held_out_prompts = held_out_benchmark(held_out)
    if held_out_prompts:
        benchmarks.append(held_out_prompts)
    adapters = loaded.vllm.lora_adapters
    answers: list[EvaluatedAnswer] = []
    scores: list[HeldOutScore] = []
    progress: list[Progress] = []
    # One after another, because each has an engine of its own.
    for candidate in candidates:
        role = {str(Role.CANDIDATE): candidate_role(candidate, adapters)}
        candidate_engine = engine_with_roles(engine, settings, role)
        candidate_answers, candidate_progress = ask_benchmarks(
            context, candidate_engine, candidate.name, benchmarks
        )
        answers += candidate_answers
        progress.append(candidate_progress)
        if held_out:
            candidate_scores, candidate_progress = _score(
                context, candidate_engine, candidate, held_out
            )
            scores += candidate_scores
            progress.append(candidate_progress)
    rehearsed = []
    for candidate in candidates:
        if is_rehearsed(candidate, adapters):
            rehearsed.append(candidate.name)
    results = held_out_results(scores)
    report = safety_report(answers, benchmarks, rehearsed, results)
    metadata = {
        **_store(loaded.reports, report, answers, scores),
        **cost_metadata(total_progress(progress), loaded.currency),
    }
    return materialized(
        snapshot,
        metadata,
        simulated=bool(report.simulation_warning),
        label=f"**{report.simulation_warning}**",
    )


evaluate_models = dg.define_asset_job(
    "evaluate_models",
    selection=dg.AssetSelection.assets(safety_eval),
    description="Tests the models of the setting evaluation.models "
    "on the benchmarks of the paper's Table 2",
)


def _candidates(
    settings: Settings, config: SafetyEvalConfig
) -> Sequence[CandidateSettings]:
    """Return the models to test.

    Raises:
        SetupError: there is none, or none of that name, or the engine is the rehearsal.
    """
    configured = {candidate.name: candidate for candidate in settings.evaluation.models}
    require_candidates(list(configured.values()), settings.engine)
    # All names are checked before the first model is asked.
    for name in config.candidates:
        if name not in configured:
            raise unknown("model", name, configured, "safety_eval: candidates")
    return [configured[name] for name in config.candidates or configured]


def _benchmarks(
    settings: Settings, config: SafetyEvalConfig, templates: Templates
) -> list[Benchmark]:
    size = config.sample
    # Not `or`: a sample of 0 asks for all prompts.
    if size is None:
        size = settings.evaluation.sample
    benchmarks = []
    for spec in settings.evaluation.benchmarks:
        benchmarks.append(load_benchmark(spec, size, templates, HubAccess()))
    return benchmarks


def _held_out_rows(
    context: dg.AssetExecutionContext, settings: Settings, lake: Lake
) -> list[FineTuneRow]:
    """Return the rows of the test split to ask and to score, of the batches of the training."""
    limit = settings.evaluation.held_out
    if not limit:
        return []
    selection = select_for_training(
        context.instance, lake, allow_simulated=settings.training.allow_simulated
    )
    return read_held_out(
        lake, selection.batches, limit, without_dpo=selection.without_dpo
    )


def _score(
    context: dg.AssetExecutionContext,
    engine: EngineResource,
    candidate: CandidateSettings,
    rows: Sequence[FineTuneRow],
) -> tuple[list[HeldOutScore], Progress]:
    """Ask one model how probable it finds the answers of every row."""
    # vLLM 0.32 with adapters dies of two prompts that are scored together: it takes the adapter of
    # each token from a list with an entry per prompt.
    engine = engine_one_call_at_a_time(engine)
    dialogue_context = engine.dialogue_context()
    conversations, tasks = [], []
    for row in rows:
        conversation = Conversation(dialogue_context, SAFETY_EVAL, prompt_of(row))
        conversations.append(conversation)
        dialogue = score_row(conversation, row, candidate.name)
        tasks.append(DialogueTask(conversation, dialogue))
    subject = f"{len(rows)} held-out rows"
    currency = engine.snapshot.settings.currency
    progress_log = ProgressLog(context.log, candidate.name, subject, currency)
    scores: list[HeldOutScore] = []
    try:
        results, progress = engine.drive(tasks, progress_log, context.log.info)
    except EngineUnusable as error:
        # The model has just answered: its server tells no probabilities of a prompt, and that costs
        # no more than the scores.
        context.log.warning(f"{candidate.name}: held-out rows are not scored: {error}")
        for conversation, row in zip(conversations, rows, strict=True):
            scores.append(unscored(conversation, row, candidate.name, str(error)))
        return scores, Progress(rows=len(rows), rows_failed=len(rows))
    progress_log.log_end(progress)
    for conversation, row, result in zip(conversations, rows, results, strict=True):
        if isinstance(result, Failure):
            problem = f"{result.reason}: {result.detail}"
            scores.append(unscored(conversation, row, candidate.name, problem))
        else:
            scores.append(result)
    return scores, progress


def _store(
    folder: Path,
    report: Report,
    answers: Sequence[EvaluatedAnswer],
    scores: Sequence[HeldOutScore],
) -> dict[str, Any]:
    """Write the report and every answer to files; return what the UI shows of them."""
    markdown = write_report(folder / "safety_eval.md", to_markdown(report, TITLE))
    rows = to_frame(answers, EvaluatedAnswer)
    parquet = folder / "safety_eval.parquet"
    with atomic_write(parquet) as temporary:
        rows.write_parquet(temporary)
    if scores:
        with atomic_write(folder / "held_out.parquet") as temporary:
            to_frame(scores, HeldOutScore).write_parquet(temporary)
    # The section of the paper's table. Most of the others are in the file alone.
    section = report.sections[0]
    outcomes: Counter[str] = Counter()
    for answer in answers:
        outcomes[f"{answer.candidate}: {answer.outcome}"] += 1
    return {
        "results": dg.MetadataValue.md(markdown_table(section.tables[0])),
        "plot": dg.MetadataValue.md(markdown_image(section.plots[0])),
        **_section_metadata(report),
        "outcomes": count_table(outcomes, "model: outcome"),
        **report.figures,
        "dagster/row_count": rows.height,
        "markdown": dg.MetadataValue.path(str(markdown)),
        "parquet": dg.MetadataValue.path(str(parquet)),
    }


def _section_metadata(report: Report) -> dict[str, Any]:
    """Return the tables of what the models learned from the rows, where there is such a table."""
    names = {FORM_TITLE: "form", HELD_OUT_TITLE: "held_out"}
    metadata = {}
    for section in report.sections:
        if section.title in names and section.tables:
            tables = "\n\n".join(map(markdown_table, section.tables))
            metadata[names[section.title]] = dg.MetadataValue.md(tables)
    return metadata
