"""What a user is told of a source besides its counts: how rows were read, and what was left out."""

from collections import Counter
from collections.abc import Iterable, Sequence

from aidsafe_dagster.recipe.chat_tokens import first_chat_token
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.columns import RowContent
from aidsafe_dagster.sources.rejection import DroppedPrompt
from aidsafe_dagster.sources.transcripts import WhichTurn

_MOST_NAMED = 3
_EXCERPT_CHARS = 20


def transcript_remarks(contents: Sequence[RowContent], turn: WhichTurn) -> list[str]:
    transcripts = [row.transcript for row in contents if row.transcript is not None]
    if not transcripts:
        return []
    which = "first" if turn == "first" else "last"
    remark = (
        f"{_count(transcripts)} of a chat: the prompt is the {which} turn of the user"
    )
    longer = sum(bool(transcript.earlier) for transcript in transcripts)
    if longer:
        remark += f"; in {longer:,} the turns before it are its context"
    shortened = sum(transcript.leaves_out for transcript in transcripts)
    if shortened:
        remark += (
            f"; in {shortened:,} there are more turns of the user or a system message, which are "
            "not read (--turn conversation takes them as context)"
        )
    return [remark]


def token_remarks(contents: Iterable[RowContent]) -> list[str]:
    tokens = [first_chat_token(row.whole) for row in contents]
    held = list(filter(None, tokens))
    if not held:
        return []
    return [
        f"{_count(held, 'prompt')} with tokens of chat templates, such as {held[0]}: kept, and "
        "broken in every request (ingest.reject_chat_tokens leaves them out)"
    ]


def id_remarks(prompts: Sequence[Prompt], column: str | None) -> list[str]:
    """Return which rows lack an id of their own, and which ids several prompts have."""
    if column is None:
        return []
    remarks = []
    without = [prompt for prompt in prompts if not prompt.own_id]
    if without:
        remarks.append(
            f"{_count(without)} without an id in '{column}', such as {without[0].source_row}"
        )
    counts = Counter(prompt.own_id for prompt in prompts if prompt.own_id)
    repeated = [own_id for own_id, count in counts.items() if count > 1]
    if repeated:
        named = []
        for own_id in repeated[:_MOST_NAMED]:
            rows = [row.source_row for row in prompts if row.own_id == own_id]
            named.append(f"{own_id} ({', '.join(rows[:_MOST_NAMED])})")
        remarks.append(
            f"{_count(repeated, 'id')} on several rows, which are all kept: {'; '.join(named)}"
        )
    return remarks


def response_remarks(prompts: Sequence[Prompt], column: str | None) -> list[str]:
    """Return how many prompts came with an answer of the source's own, if any was looked for."""
    answered = sum(bool(prompt.original_response) for prompt in prompts)
    if not answered and column is None:
        return []
    remark = (
        f"{answered:,} of {_count(prompts, 'prompt')} with an answer of the source's own, kept as "
        "original_response"
    )
    return [remark]


def late_response_remarks(
    known: Iterable[Prompt], read: Iterable[Prompt | DroppedPrompt]
) -> list[str]:
    """Return how many prompts are in a batch without the answer that their rows have now."""
    without = {prompt.prompt_id for prompt in known if not prompt.original_response}
    late = {
        row.prompt_id
        for row in read
        if isinstance(row, Prompt)
        and row.original_response
        and row.prompt_id in without
    }
    if not late:
        return []
    return [
        f"{_count(list(late), 'prompt')} already in a batch without the source's own answer, which "
        "stays so: a batch never changes. `aidsafe forget` takes batches back, to ingest them with "
        "answers"
    ]


def late_id_remarks(
    known: Iterable[Prompt], dropped: Iterable[DroppedPrompt]
) -> list[str]:
    """Return how many rows came with an id only after their prompts were in a batch."""
    without = {(row.source, row.source_row) for row in known if not row.own_id}
    late = [
        row for row in dropped if row.own_id and (row.source, row.source_row) in without
    ]
    if not late:
        return []
    return [
        f"{_count(late, 'prompt')} already in a batch without an id, which stays so: a batch "
        "never changes. `aidsafe forget` takes batches back, to ingest them with ids"
    ]


def encoding_remarks(contents: Iterable[RowContent], encoding: str) -> list[str]:
    """Return how a text reads in the code page that it was taken to be in."""
    for row in contents:
        if not row.prompt.isascii():
            return [
                f"the text is not UTF-8 and was read as {encoding}: "
                f"'{_excerpt(row.prompt)}'; --encoding names another encoding"
            ]
    return []


def _excerpt(text: str) -> str:
    at = next(i for i, char in enumerate(text) if not char.isascii())
    return " ".join(text[max(0, at - _EXCERPT_CHARS) : at + _EXCERPT_CHARS].split())


def _count(items: Sequence[object], noun: str = "row") -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"
