"""How long prompts get, role by role and round by round, in each context that agents can have.

    python -m benchmarks.context --tokenizer FOLDER    bundled prompts, answers of the rehearsal
    python -m benchmarks.context --long                answers as long as those of models
    python -m benchmarks.context --style round_table --limit 20   so many prompts of each source

It takes the prompts through deliberation and refinement and prints a Markdown table for each
context. The prefix cache is simulated: whole blocks of 16 tokens, and nothing is evicted. Without a
tokenizer, four bytes count as a token. No clock is read.
"""

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import get_args

from aidsafe_dagster.engines.driver.driver import drive
from aidsafe_dagster.engines.journal import Journal
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.recipe.agent_context import ContextKind
from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.context_plan import LIKELY
from aidsafe_dagster.recipe.dialogue import (
    Completion,
    Conversation,
    Dialogue,
    DialogueTask,
    Request,
)
from aidsafe_dagster.recipe.records import Prompt, RefinedCot, Role, Stage, Usage
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.round_table import DELIBERATION_STYLES
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.resources.engine_from_settings import make_dialogue_context
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import take_snapshot
from benchmarks.planted_truth import bundled_prompts, markdown

_BLOCK_TOKENS = 16
Tokens = tuple[int, ...]


@dataclass
class Lengths:
    """The requests of one role at one round, in tokens."""

    prompts: list[int] = field(default_factory=list)
    cached: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def line(self, place: str, rows: int) -> dict[str, object]:
        total = sum(self.prompts)
        uncached = total - sum(self.cached)
        return {
            "role": place,
            "calls a row": len(self.prompts) / rows,
            "prompt, median": round(median(self.prompts)),
            "prompt, 95 %": round(_percentile_95(self.prompts)),
            "with answer, 95 %": round(_percentile_95(self._sums())),
            "from the cache": sum(self.cached) / total,
            "read anew a row": round(uncached / rows),
        }

    def _sums(self) -> list[int]:
        return [sum(pair) for pair in zip(self.prompts, self.answers, strict=True)]


class MeasuringEngine(RehearsalEngine):
    """Answers by rule, and measures each prompt and what a prefix cache would hold of it."""

    def __init__(self, tokenize: Callable[[str], Tokens], *, long: bool) -> None:
        super().__init__()
        self.lengths: dict[str, Lengths] = defaultdict(Lengths)
        self._tokenize = cache(tokenize)
        self._long = long
        self._held: set[int] = set()

    async def complete(self, request: Request, attempt: int) -> Completion:
        completion = await super().complete(request, attempt)
        text = _lengthen(completion.text) if self._long else completion.text
        lengths = self.lengths[_place(request)]
        tokens = self._prompt_tokens(request)
        lengths.prompts.append(len(tokens))
        lengths.cached.append(self._cached_tokens(tokens))
        answer = self._tokenize(text)
        lengths.answers.append(len(answer))
        # A server holds what it wrote as well as what it read.
        self._cached_tokens(tokens + answer)
        return completion.model_copy(update={"text": text, "usage": Usage(calls=1)})

    def _prompt_tokens(self, request: Request) -> Tokens:
        tokens: list[int] = []
        for message in request.messages:
            # As the chat template of ChatML has it.
            tokens += self._tokenize(f"<|im_start|>{message.role}\n")
            tokens += self._tokenize(message.content)
            tokens += self._tokenize("<|im_end|>\n")
        tokens += self._tokenize("<|im_start|>assistant\n")
        return tuple(tokens)

    def _cached_tokens(self, tokens: Tokens) -> int:
        cached = 0
        is_held = True
        prefix = 0
        for start in range(0, len(tokens) - _BLOCK_TOKENS + 1, _BLOCK_TOKENS):
            # A block is found by its own tokens and all before it.
            prefix = hash((prefix, tokens[start : start + _BLOCK_TOKENS]))
            is_held = is_held and prefix in self._held
            cached += _BLOCK_TOKENS * is_held
            self._held.add(prefix)
        return cached


def measure(
    settings: Settings,
    prompts: Sequence[Prompt],
    tokenize: Callable[[str], Tokens],
    *,
    long: bool,
) -> list[dict[str, object]]:
    """Return the lines of one context's table."""
    engine = MeasuringEngine(tokenize, long=long)
    dialogue_context = make_dialogue_context(take_snapshot(settings), engine)
    # A text that is made long says its words again and again.
    dialogue_context = replace(dialogue_context, bad_text=ACCEPT_ALL)
    tasks = []
    for prompt in prompts:
        conversation = Conversation(dialogue_context, Stage.SEED_COTS, prompt)
        dialogue = _refine_prompt(conversation, settings)
        tasks.append(DialogueTask(conversation, dialogue))
    with (
        TemporaryDirectory() as folder,
        closing(Journal(f"sqlite:///{folder}/journal.sqlite")) as journal,
    ):
        asyncio.run(drive(tasks, engine, journal, settings.driver))
    rows = len(prompts)
    lines = [lengths.line(place, rows) for place, lengths in _sorted(engine.lengths)]
    lines.append(_all(engine.lengths.values()).line("all", rows))
    return lines


def _refine_prompt(
    conversation: Conversation, settings: Settings
) -> Dialogue[RefinedCot]:
    deliberate = DELIBERATION_STYLES[settings.deliberation.style]
    seeded = yield from seed(conversation, conversation.prompt)
    conversation.stage = Stage.DELIBERATED_COTS
    deliberated = yield from deliberate(conversation, seeded, settings.deliberation)
    conversation.stage = Stage.REFINED_COTS
    return (yield from refine(conversation, deliberated))


def _place(request: Request) -> str:
    if request.role in (Role.DELIBERATOR, Role.MODERATOR):
        return f"{request.role}, round {request.inputs.round}"
    return str(request.role)


def _sorted(lengths: dict[str, Lengths]) -> list[tuple[str, Lengths]]:
    return sorted(lengths.items(), key=lambda item: median(item[1].prompts))


def _all(parts: Iterable[Lengths]) -> Lengths:
    total = Lengths()
    for part in parts:
        total.prompts += part.prompts
        total.cached += part.cached
        total.answers += part.answers
    return total


def _percentile_95(values: Sequence[int]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if values[1:] else values[0]


def _lengthen(text: str) -> str:
    """Return an answer with thoughts and response as long as those of models."""
    try:
        answer = json.loads(text)
    except ValueError:
        # What is planted as broken stays broken.
        return text
    for thought in answer.get("thoughts", ()):
        thought["thought"] = _repeated(thought["thought"], LIKELY.thought_chars)
    if "response" in answer:
        answer["response"] = _repeated(answer["response"], LIKELY.response_chars)
    return json.dumps(answer, ensure_ascii=False)


def _repeated(text: str, chars: int) -> str:
    words = text.split()
    repeats = chars // max(len(text), 1) + 1
    long = " ".join(words * repeats)[:chars]
    return max(text, long, key=len)


def _tokenizer(file: Path | None) -> Callable[[str], Tokens]:
    if file is None:
        return _bytes_by_four
    from tokenizers import Tokenizer  # noqa: PLC0415 - needed only for exact counts

    loaded = Tokenizer.from_file(
        str(file / "tokenizer.json" if file.is_dir() else file)
    )
    return lambda text: tuple(loaded.encode(text, add_special_tokens=False).ids)


def _bytes_by_four(text: str) -> Tokens:
    data = text.encode()
    starts = range(0, len(data), 4)
    return tuple(int.from_bytes(data[start : start + 4], "big") for start in starts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json or its folder")
    parser.add_argument("--limit", type=int, help="prompts of each bundled source")
    parser.add_argument("--style", default="in_turn", choices=DELIBERATION_STYLES)
    parser.add_argument("--long", action="store_true", help="answers as of a model")
    options = parser.parse_args()
    tokenize = _tokenizer(options.tokenizer)
    for kind in get_args(ContextKind):
        deliberation = {"context": kind, "style": options.style}
        settings = Settings.model_validate({"deliberation": deliberation})
        prompts = bundled_prompts(settings, options.limit)
        lines = measure(settings, prompts, tokenize, long=options.long)
        sys.stdout.write(f"\n{kind}, {len(prompts)} prompts\n\n{markdown(lines)}\n")


if __name__ == "__main__":
    main()
