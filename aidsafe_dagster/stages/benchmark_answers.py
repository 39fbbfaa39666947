"""The answers of one model to benchmarks, each with its outcome."""

from collections.abc import Sequence

import dagster as dg

from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.evaluation.items import Benchmark
from aidsafe_dagster.recipe.dialogue import Conversation, DialogueTask
from aidsafe_dagster.recipe.records import Failure, FailureReason, Role, Usage
from aidsafe_dagster.recipe.safety_eval import (
    BenchmarkItem,
    Candidate,
    EvaluatedAnswer,
    evaluate,
    unanswered_record,
)
from aidsafe_dagster.recipe.templates import SAFETY_EVAL
from aidsafe_dagster.resources.engine import EngineResource
from aidsafe_dagster.stages.progress_log import ProgressLog


def all_unanswered(
    engine: EngineResource, name: str, benchmarks: Sequence[Benchmark], why: str
) -> list[EvaluatedAnswer]:
    """Return the records of a model whose server answered nothing at all.

    Args:
        engine: that asked the model.
        name: of the model in the report.
        benchmarks: what was to be asked.
        why: what is wrong with the server.
    """
    dialogue_context = engine.dialogue_context()
    answers = []
    for benchmark in benchmarks:
        for item in benchmark.items:
            conversation = Conversation(dialogue_context, SAFETY_EVAL, item.prompt)
            failure = Failure(
                prompt_id=item.prompt.prompt_id,
                batch=item.prompt.batch,
                stage=SAFETY_EVAL,
                reason=FailureReason.ENGINE_ERROR,
                detail=why,
                role=str(Role.CANDIDATE),
                turn=0,
                redraws=(),
                usage=Usage(),
            )
            answers.append(
                unanswered_record(conversation, item, Candidate(name), failure)
            )
    return answers


def ask_benchmarks(
    context: dg.AssetExecutionContext,
    engine: EngineResource,
    name: str,
    benchmarks: Sequence[Benchmark],
) -> tuple[list[EvaluatedAnswer], Progress]:
    """Ask one model every item; an item whose dialogue failed is an outcome too.

    Args:
        context: of the asset.
        engine: asks the model in the role `candidate`.
        name: of the model in the report.
        benchmarks: what is asked.
    """
    settings = engine.snapshot.settings
    dialogue_context = engine.dialogue_context()
    candidate = Candidate(
        name,
        settings.evaluation.temperature,
        settings.grading.temperature,
    )
    items: list[BenchmarkItem] = []
    for benchmark in benchmarks:
        items.extend(benchmark.items)
    # All benchmarks in one drive, so that the end of one leaves no slots idle.
    conversations, tasks = [], []
    for item in items:
        conversation = Conversation(dialogue_context, SAFETY_EVAL, item.prompt)
        conversations.append(conversation)
        dialogue = evaluate(conversation, item, candidate)
        tasks.append(DialogueTask(conversation, dialogue))
    subject = f"{len(items)} prompts"
    currency = settings.currency
    progress_log = ProgressLog(context.log, candidate.name, subject, currency)
    results, progress = engine.drive(tasks, progress_log, context.log.info)
    progress_log.log_end(progress)
    answers: list[EvaluatedAnswer] = []
    for conversation, item, result in zip(conversations, items, results, strict=True):
        if isinstance(result, Failure):
            answers.append(unanswered_record(conversation, item, candidate, result))
        else:
            answers.append(result)
    return answers, progress
