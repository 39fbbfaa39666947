"""Which prompts a tryout takes: texts, the first ones of a file, or the project's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.columns import SourceColumns, read_row
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.ingestion import ingest
from aidsafe_dagster.sources.rejection import DroppedPrompt, Rejection
from aidsafe_dagster.sources.source import (
    ColumnMapping,
    SourceSpec,
    bundled_sources,
)
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.sources.transcripts import parsed_list, read_transcript
from aidsafe_dagster.tryout.results import BATCH

_LICENCE = "not stated"
"""A tryout releases nothing, so a file needs no licence."""
_SPARE_ROWS = 20
Talk = Sequence[Mapping[str, str]]
"""A conversation, as OpenAI's messages."""
_TEXT = SourceColumns("prompt", None, None, None, _LICENCE)


@dataclass(frozen=True)
class ChosenPrompts:
    prompts: tuple[Prompt, ...]
    origin: str
    """Where they come from, in words."""
    dropped: tuple[DroppedPrompt, ...] = ()
    """Rows among them that are no usable prompts."""


def prompts_from_texts(
    texts: Iterable[str | Talk | Prompt], settings: Settings
) -> ChosenPrompts:
    """Return a prompt for each text or conversation. Equal ones are one prompt.

    Raises:
        SetupError: there is none, or one of them is blank, too long, or no text.
    """
    prompts: dict[str, Prompt] = {}
    for number, text in enumerate(texts, start=1):
        prompt = _as_prompt(text, number, settings)
        prompts.setdefault(prompt.prompt_id, prompt)
    if not prompts:
        raise SetupError("there is no prompt to try; give one text at least")
    return ChosenPrompts(tuple(prompts.values()), "as given")


def prompts_from_file(
    path: Path, count: int, settings: Settings, columns: Mapping[str, str | None]
) -> ChosenPrompts:
    """Return the first usable prompts of a file of any kind that ingestion reads.

    Args:
        path: of the file.
        count: of prompts at most.
        settings: bounds of ingestion.
        columns: names of the columns, as in `[[sources]]`; None: the usual names.

    Raises:
        SetupError: the file cannot be read, or has no usable prompt; says why.
    """
    spec = SourceSpec(
        name=BATCH,
        path=path.absolute(),
        columns=ColumnMapping(**columns),
        licence=_LICENCE,
        # Some rows may be duplicates or unusable, and a large file is not read whole.
        limit=4 * count + _SPARE_ROWS,
    )
    return _ingest([spec], count, settings, str(path))


def prompts_of_project(count: int, settings: Settings) -> ChosenPrompts:
    """Return some of the ingested prompts; before any is ingested, some of the sources.

    Of the ingested ones always the same, from all batches: those with the smallest ids, which are
    hashes. Of the sources the first rows, in turn.

    Raises:
        SetupError: a source cannot be read.
    """
    lake = Lake(settings.lake)
    ids = lake.all_rows(INGESTED, ["prompt_id", "batch"])
    if ids is None or not ids.height:
        sources = settings.sources or bundled_sources()
        limited = [spec.model_copy(update={"limit": count}) for spec in sources]
        origin = "the configured sources" if settings.sources else "the bundled samples"
        return _ingest(limited, count, settings, origin)
    chosen = ids.sort("prompt_id").head(count)
    wanted = set(chosen["prompt_id"])
    prompts: list[Prompt] = []
    for batch in sorted(set(chosen["batch"])):
        for prompt in lake.records(INGESTED, batch, Prompt):
            if prompt.prompt_id in wanted:
                prompts.append(_tried(prompt))
    return ChosenPrompts(tuple(prompts), "the project's own prompts")


def _ingest(
    specs: Sequence[SourceSpec], count: int, settings: Settings, origin: str
) -> ChosenPrompts:
    ingestion = ingest(specs, [], settings.ingest, {})
    by_source: dict[str, list[Prompt]] = {}
    for rows in ingestion.batches.values():
        for prompt in rows:
            by_source.setdefault(prompt.source, []).append(_tried(prompt))
    # The first of each source, then the second of each …
    in_turn = chain.from_iterable(zip_longest(*by_source.values()))
    prompts = [prompt for prompt in in_turn if prompt is not None]
    return ChosenPrompts(tuple(prompts[:count]), origin, ingestion.dropped)


def _as_prompt(text: str | Talk | Prompt, number: int, settings: Settings) -> Prompt:
    if isinstance(text, Prompt):
        return _tried(text)
    value: object = parsed_list(text) if isinstance(text, str) else list(text)
    # A text may well begin with a bracket.
    if isinstance(text, str) and read_transcript(value, _TEXT.turn) is None:
        value = text
    content = read_row(_TEXT, {"prompt": value}, settings.ingest.max_prompt_chars)
    if isinstance(content, Rejection):
        raise SetupError(f"prompt {number} cannot be tried: {content.detail}")
    return Prompt(
        prompt_id=prompt_id(content.whole),
        batch=BATCH,
        source=BATCH,
        source_row=f"prompt {number}",
        category="",
        licence=_LICENCE,
        prompt=content.prompt,
        earlier=content.earlier,
    )


def _tried(prompt: Prompt) -> Prompt:
    return prompt.model_copy(update={"batch": BATCH})
