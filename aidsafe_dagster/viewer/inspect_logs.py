"""Deliberations as logs of inspect_ai, which `inspect view` opens.

A batch is a log, a prompt a sample. Who said what becomes messages, grades become scores with the
judges' reasons, and a failed row has an error.

The log is in inspect_ai's JSON format, version 2, as its own `read_eval_log` reads it
(https://inspect.aisi.org.uk/eval-logs.html). It is written here, without inspect_ai: reading a log
needs that library, and writing one needs no more than its field names.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    METRICS,
    CotGrades,
    Failure,
    Stage,
    Usage,
)
from aidsafe_dagster.recipe.seed_cots import join_thoughts
from aidsafe_dagster.reports.sample import Exchange
from aidsafe_dagster.viewer.prompt_story import PromptStory, read_stories

_FORMAT = 2
_UNKNOWN_MODEL = "none"
Json = dict[str, Any]
Mask = Callable[[str], str]


class InspectLog(NamedTuple):
    path: Path
    batch: str
    samples: int
    failed: int


def write_inspect_log(
    lake: Lake,
    batch: str,
    folder: Path,
    *,
    split: str | None = None,
    mask: Mask = str,
) -> InspectLog | None:
    """Write a batch as a log; one of the same batch from before is replaced.

    Args:
        lake: holds the batch.
        batch: its key.
        folder: of the logs; made if it does not exist.
        split: only prompts with a row in this split.
        mask: hides secrets in what went wrong, which quotes servers.

    Returns:
        The log; None if the batch has no deliberation, or none in this split.
    """
    stories = []
    for story in read_stories(lake, batch).values():
        is_in_split = any(row.split == split for row in story.training)
        # A prompt that only waits says nothing.
        is_begun = len(story.records) > 1 or story.failures
        if is_begun and (split is None or is_in_split):
            stories.append(story)
    if not stories:
        return None
    made = _time_made(lake, batch)
    log = _log(batch, stories, made, mask)
    name = _task(batch, stories)
    folder.mkdir(parents=True, exist_ok=True)
    ending = f"_{name}_{_id(batch)}.json"
    # `inspect view` lists what begins with a time like this.
    path = folder / f"{made:%Y-%m-%dT%H-%M-%S}+00-00{ending}"
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(log, ensure_ascii=False), "utf-8")
    for older in folder.glob(f"*{ending}"):
        if older != path:
            older.unlink()
    failed = sum(bool(_real_failures(story)) for story in stories)
    return InspectLog(path, batch, len(stories), failed)


def _log(
    batch: str, stories: Sequence[PromptStory], made: datetime, mask: Mask
) -> Json:
    samples = [_sample(story, mask) for story in stories]
    sources = dict.fromkeys(story.origin.source for story in stories if story.origin)
    is_simulated = any(story.is_simulated for story in stories)
    created = made.isoformat()
    return {
        "version": _FORMAT,
        "status": "success",
        "eval": {
            "eval_id": _id(f"eval {batch}"),
            "run_id": _id(f"run {batch}"),
            "created": created,
            "task": _task(batch, stories),
            "task_id": _id(batch),
            "task_display_name": _title(batch, is_simulated=is_simulated),
            "tags": ["REHEARSAL"] if is_simulated else [],
            "dataset": {
                "name": ", ".join(sources),
                "samples": len(samples),
                "sample_ids": [story.prompt_id for story in stories],
                "shuffled": False,
            },
            "model": _models(stories),
            "config": {},
            "packages": {"aidsafe_dagster": version("aidsafe_dagster")},
            "metadata": {"batch": batch, "simulated": is_simulated},
        },
        "plan": {"name": "aidsafe", "steps": [], "config": {}},
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(samples),
            "scores": _results(samples),
        },
        "stats": {
            "started_at": created,
            "completed_at": created,
            "model_usage": _summed(sample["model_usage"] for sample in samples),
        },
        "samples": samples,
    }


def _sample(story: PromptStory, mask: Mask) -> Json:
    messages = list(_messages(story))
    model = story.makers[-1][1].model if story.makers else _UNKNOWN_MODEL
    sample: Json = {
        "id": story.prompt_id,
        "epoch": 1,
        "input": _input(story),
        "target": "",
        "messages": messages,
        "output": {
            "model": model,
            "choices": [{"message": messages[-1], "stop_reason": "stop"}]
            if len(messages) > 1
            else [],
        },
        "scores": _scores(story),
        "metadata": _metadata(story, mask),
        "model_usage": _model_usage(story),
        "events": [],
        "store": {},
        "attachments": {},
    }
    failures = _real_failures(story)
    if failures:
        sample["error"] = _error(failures, mask)
    return sample


def _real_failures(story: PromptStory) -> list[Failure]:
    """Return the failures of a row, without the reasons to leave a sound one out."""
    return [
        failure for failure in story.failures if failure.reason not in EXCLUSION_REASONS
    ]


def _messages(story: PromptStory) -> Iterator[Json]:
    """Yield the prompt, what each agent contributed, and the final thoughts with the response."""
    yield from _asked(story)
    for number, exchange in enumerate(story.exchanges):
        text = _contribution(exchange, story)
        yield _message(story, f"exchange {number}", "assistant", text)
    final = story.refined or story.deliberated or story.seed
    if final is None:
        return
    thoughts = join_thoughts(story.refined.thoughts) if story.refined else ""
    content: list[Json] = []
    if thoughts:
        content.append({"type": "reasoning", "reasoning": thoughts})
    content.append({"type": "text", "text": final.response})
    yield _message(story, "response", "assistant", content)


def _asked(story: PromptStory) -> Iterator[Json]:
    """Yield the turns of a conversation, and the prompt."""
    for number, turn in enumerate(story.earlier):
        yield _message(story, f"earlier {number}", turn.role, turn.content)
    yield _message(story, "prompt", "user", story.prompt)


def _input(story: PromptStory) -> str | list[Json]:
    return list(_asked(story)) if story.earlier else story.prompt


def _message(story: PromptStory, part: str, role: str, content: Any) -> Json:
    return {
        "id": _id(f"{story.prompt_id} {part}"),
        "role": role,
        "content": content,
        "source": "input" if part.startswith(("prompt", "earlier")) else "generate",
    }


def _contribution(exchange: Exchange, story: PromptStory) -> str:
    """Return who contributed what in a round, with the refiner's verdict on each thought."""
    place = "Seed" if exchange.round == 0 else f"Round {exchange.round}"
    heading = f"{place} · {exchange.agent}"
    parts = []
    if exchange.turn:
        heading += f" · {exchange.turn.verdict}s"
        parts.append(exchange.turn.comment)
    for thought in exchange.thoughts:
        rules = f" ({', '.join(thought.rules)})" if thought.rules else ""
        parts.append(f"[{thought.number}] {thought.text}{rules}")
        judgement = story.judgements.get(thought.number)
        if judgement:
            parts.append(f"refiner: {judgement.verdict}: {judgement.reason}")
    return "\n\n".join([heading, *filter(None, parts)])


def _scores(story: PromptStory) -> Json:
    """Return the refined version's mean of the judges by metric, with every reason."""
    scores: Json = {}
    if story.grades:
        scores["policy_score"] = {"value": story.grades.policy_score}
        for metric in METRICS:
            score = _metric_score(story.grades, metric)
            if score:
                scores[metric] = score
    if story.pair:
        scores["pair_margin"] = {
            "value": story.pair.margin,
            "explanation": f"chosen {story.pair.chosen_score:.2f}, "
            f"rejected {story.pair.rejected_score:.2f}",
        }
    if story.judgements:
        verdicts = [judgement.verdict for judgement in story.judgements.values()]
        kept = sum(verdict == "keep" for verdict in verdicts)
        scores["thoughts_kept"] = {
            "value": kept / len(verdicts),
            "explanation": f"{kept} of {len(verdicts)} by the refiner",
        }
    return scores


def _metric_score(grades: CotGrades, metric: str) -> Json | None:
    values = []
    reasons = []
    for grade in grades.grades:
        score = getattr(grade, metric)
        reasons.append(f"{grade.version}, {grade.judge}: {score.score}. {score.reason}")
        if grade.version == "refined":
            values.append(score.score)
    if not values:
        return None
    return {"value": fmean(values), "explanation": "\n\n".join(reasons)}


def _metadata(story: PromptStory, mask: Mask) -> Json:
    metadata: Json = {"batch": story.batch, "simulated": story.is_simulated}
    origin = story.origin
    if origin:
        metadata |= origin.model_dump(
            include={"source", "source_row", "own_id", "category", "licence"}
        )
    metadata["rows_for_training"] = [
        f"{row.kind} {row.split}" for row in story.training
    ]
    metadata["intents"] = [intent.model_dump() for intent in story.intents]
    if story.deliberated:
        metadata["ended_by"] = story.deliberated.outcome
        metadata["stalled"] = story.deliberated.stalled
    if story.seed:
        metadata["first_response"] = story.seed.response
    if story.grades:
        metadata["prompt_kind"] = story.grades.prompt_kind
        metadata["comparisons"] = _dumped(story.grades.comparisons)
        metadata["ungraded"] = _dumped(story.grades.ungraded)
    if story.single_llm:
        metadata["baseline"] = {
            "thoughts": _dumped(story.single_llm.thoughts),
            "response": story.single_llm.response,
        }
    if story.pair:
        fields = {"kind", "belief", "rejected_cot", "rejected_response", "similarity"}
        metadata["pair"] = story.pair.model_dump(include=fields)
    if story.tried:
        fields = {"iteration", "number", "belief", "cot", "response", "score"}
        fields |= {"left_out", "note", "is_rejected_side"}
        metadata["tried_beliefs"] = [
            tried.model_dump(include=fields) for tried in story.tried
        ]
    metadata["calls"] = {stage: maker.usage.calls for stage, maker in story.makers}
    metadata["cost"] = story.usage.cost
    metadata["failures"] = [_failure(failure, mask) for failure in story.failures]
    return metadata


def _dumped(records: Sequence[Any]) -> list[Json]:
    return [record.model_dump(mode="json") for record in records]


def _failure(failure: Failure, mask: Mask) -> Json:
    fields = {"stage", "reason", "role", "turn"}
    detail = mask(failure.detail)
    return {**failure.model_dump(mode="json", include=fields), "detail": detail}


def _error(failures: Sequence[Failure], mask: Mask) -> Json:
    lines = []
    for failure in failures:
        lines.append(f"{failure.stage}: {failure.reason}: {mask(failure.detail)}")
    text = "\n".join(lines)
    return {"message": text, "traceback": text, "traceback_ansi": text}


def _model_usage(story: PromptStory) -> dict[str, Json]:
    by_model = defaultdict[str, Usage](Usage)
    for _, maker in story.makers:
        by_model[maker.model] += maker.usage
    return {model: _usage(usage) for model, usage in by_model.items()}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "input_tokens_cache_read": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def _summed(usages: Iterator[Mapping[str, Json]]) -> dict[str, Json]:
    totals: dict[str, Json] = {}
    for usage in usages:
        for model, counts in usage.items():
            total = totals.setdefault(model, dict.fromkeys(counts, 0))
            for name, count in counts.items():
                total[name] += count
    return totals


def _results(samples: Sequence[Json]) -> list[Json]:
    """Return the mean of each score with its standard error."""
    values = defaultdict[str, list[float]](list)
    for sample in samples:
        for name, score in sample["scores"].items():
            values[name].append(score["value"])
    return [
        {
            "name": name,
            "scorer": name,
            "scored_samples": len(scores),
            "unscored_samples": len(samples) - len(scores),
            "metrics": {
                "mean": {"name": "mean", "value": fmean(scores)},
                "stderr": {"name": "stderr", "value": _standard_error(scores)},
            },
        }
        for name, scores in values.items()
    ]


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def _models(stories: Sequence[PromptStory]) -> str:
    models: dict[str, None] = {}
    for story in stories:
        for stage, maker in story.makers:
            # The agents' own, which is what the log is about.
            if stage in (Stage.SEED_COTS, Stage.DELIBERATED_COTS, Stage.REFINED_COTS):
                models[maker.model] = None
    return ", ".join(models) or _UNKNOWN_MODEL


def _task(batch: str, stories: Sequence[PromptStory]) -> str:
    is_simulated = any(story.is_simulated for story in stories)
    # A file is named by its task, and an underscore ends the name.
    name = batch.replace("_", "-").replace(".", "-")
    return f"rehearsal-{name}" if is_simulated else name


def _title(batch: str, *, is_simulated: bool) -> str:
    title = f"Deliberations of {batch}"
    return (
        f"REHEARSAL: {title} (simulated, no model's output)" if is_simulated else title
    )


def _time_made(lake: Lake, batch: str) -> datetime:
    """Return when the batch's rows were made, so that the same rows give the same log."""
    for stage in (Stage.REFINED_COTS, Stage.DELIBERATED_COTS, Stage.SEED_COTS):
        if lake.has(stage, batch):
            modified = lake.rows_path(stage, batch).stat().st_mtime
            return datetime.fromtimestamp(int(modified), UTC)
    return datetime.fromtimestamp(0, UTC)


def _id(text: str) -> str:
    """Return an id of letters and digits, the same for the same text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=11).hexdigest()
