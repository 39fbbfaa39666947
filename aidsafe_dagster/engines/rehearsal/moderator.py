"""The moderator of a round table: puts the opinions together, each thought once and under its author's number."""

from aidsafe_dagster.recipe.answers import MergedThoughtAnswer, ModeratorAnswer
from aidsafe_dagster.recipe.round_table import ModeratorInputs, Opinion


def moderated(inputs: ModeratorInputs) -> ModeratorAnswer:
    """Thoughts in the order of the reviewers; the response with what each of them mended."""
    said = {thought.text for thought in inputs.thoughts}
    thoughts = [merged for opinion in inputs.opinions for merged in _merged(opinion, said)]
    return ModeratorAnswer(thoughts=thoughts, response=_response(inputs))


def _merged(opinion: Opinion, said: set[str]) -> list[MergedThoughtAnswer]:
    """An opinion's thoughts up to the first that was said before.

    Those behind it go too: what a thought is depends on its place among its author's, so none may move up.
    """
    thoughts: list[MergedThoughtAnswer] = []
    for answer in opinion.answer.thoughts if not opinion.agrees else ():
        if answer.thought in said:
            break
        said.add(answer.thought)
        thoughts.append(
            MergedThoughtAnswer(thought=answer.thought, rules=answer.rules, author=opinion.number)
        )
    return thoughts


def _response(inputs: ModeratorInputs) -> str:
    mended = [opinion.answer.response for opinion in inputs.opinions if not opinion.agrees]
    parts = [
        inputs.response if any(text.startswith(inputs.response) for text in mended) else mended[0]
    ]
    for text in mended:
        mend = text.removeprefix(inputs.response).strip()
        if mend and all(mend not in part for part in parts):
            parts.append(mend)
    return " ".join(parts)
