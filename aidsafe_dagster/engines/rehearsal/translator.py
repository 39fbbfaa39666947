"""The translator: marks each text with its language, since no rule can translate it."""

from aidsafe_dagster.engines.rehearsal.planted import Reply
from aidsafe_dagster.engines.rehearsal.speaker import Speaker
from aidsafe_dagster.recipe.translation import TranslatorAnswer, TranslatorInputs


def mark_language(_: Speaker, inputs: TranslatorInputs) -> Reply:
    def marked(text: str) -> str:
        return f"[{inputs.language}] {text}"

    answer = TranslatorAnswer(
        turns=[marked(turn.content) for turn in inputs.turns],
        thoughts=[marked(thought) for thought in inputs.thoughts],
        response=marked(inputs.response),
    )
    return Reply(answer)
