"""The work of the clients: made-up prompts, and the recipe's dialogue up to the refined CoT."""

import hashlib
import random
from collections.abc import Iterator

from aidsafe_dagster.recipe.bad_text import ACCEPT_ALL
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings, deliberate
from aidsafe_dagster.recipe.dialogue import (
    Conversation,
    Dialogue,
    DialogueContext,
    DialogueTask,
)
from aidsafe_dagster.recipe.policies import load_policies
from aidsafe_dagster.recipe.records import Prompt, RefinedCot, Stage
from aidsafe_dagster.recipe.refined_cots import refine
from aidsafe_dagster.recipe.seed_cots import seed
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.settings.schema import PACKAGE

_SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
    "sha",
    "tre",
)


def prompt_texts(count: int, first: int = 0) -> Iterator[str]:
    """Yield texts of 14 made-up words. No two are near duplicates, and text n never changes."""
    for number in range(first, first + count):
        draw = random.Random(number)
        words = ["".join(draw.choices(_SYLLABLES, k=3)) for _ in range(14)]
        yield f"Explain {' '.join(words)} ({number})."


def dialogue_tasks(count: int, first: int = 0) -> list[DialogueTask[RefinedCot]]:
    """Make a dialogue per row: intents, seed, 2 to 6 turns of deliberation, refinement.

    A row takes 7 dependent calls on average.
    """
    dialogue_context = DialogueContext(
        policies=load_policies(PACKAGE / "policies", ()),
        templates=load_templates(PACKAGE / "prompts"),
        count_tokens=lambda text: len(text) // 4,
        engine="endpoint",
        # the simulated answers are filler, which the recipe would ask for again
        bad_text=ACCEPT_ALL,
    )
    tasks = []
    for prompt in _prompts(count, first):
        conversation = Conversation(dialogue_context, Stage.SEED_COTS, prompt)
        tasks.append(DialogueTask(conversation, _refine_prompt(conversation)))
    return tasks


def _prompts(count: int, first: int) -> Iterator[Prompt]:
    for number, text in enumerate(prompt_texts(count, first), start=first):
        yield Prompt(
            prompt_id=f"row-{number}",
            batch="benchmark-0001",
            source="benchmark",
            source_row=str(number),
            category="",
            licence="CC0-1.0",
            prompt=text,
        )


def _refine_prompt(conversation: Conversation) -> Dialogue[RefinedCot]:
    seeded = yield from seed(conversation, conversation.prompt)
    conversation.stage = Stage.DELIBERATED_COTS
    deliberated = yield from deliberate(
        conversation, seeded, settings=DeliberationSettings()
    )
    conversation.stage = Stage.REFINED_COTS
    return (yield from refine(conversation, deliberated))


def digest(result: object) -> str:
    """Hash the text of a row. Empty for a row that was lost."""
    if not isinstance(result, RefinedCot):
        return ""
    texts = [result.response]
    texts += [thought.text for thought in result.thoughts]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
