"""One prompt's whole story, from the baseline to the preference pairs, as pages to read."""

from collections.abc import Iterator
from typing import Any

import polars as pl
from rich.console import RenderableType
from rich.markdown import Markdown
from rich.panel import Panel
from rich.text import Text

from aidsafe_dagster.cli.failed_rows import failed_answer_panel
from aidsafe_dagster.lake.earlier_layouts import OtherLayout
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.lake.translations import translation_tables
from aidsafe_dagster.recipe.markdown import escape_inline
from aidsafe_dagster.recipe.records import (
    BELIEF_CANDIDATES,
    DeliberatedCot,
    Failure,
    RefinedCot,
    Stage,
    ThoughtVerdict,
    TriedBelief,
    Turn,
)
from aidsafe_dagster.recipe.stages import STAGES, stage_named
from aidsafe_dagster.recipe.transcript import (
    candidates_transcript,
    failure_transcript,
    refined_transcript,
)
from aidsafe_dagster.recipe.translation import translated_transcript
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets
from aidsafe_dagster.viewer.prompt_ids import PromptPlace
from aidsafe_dagster.viewer.prompt_story import read_translations

_INTEREST_COLUMNS = [
    "prompt_id",
    "judgements",
    "deliberated_thoughts",
    "intents",
    "deliberated_cot_tokens",
]


def batch_of_prompt(lake: Lake, prompt_id: str) -> str | None:
    """Return the batch of a prompt, None if it was never ingested."""
    ingested = lake.all_rows(INGESTED, ["prompt_id", "batch"])
    if ingested is None:
        return None
    batches = ingested.filter(prompt_id=prompt_id)["batch"].to_list()
    # A prompt is in one batch only, because ingestion drops duplicates.
    return batches[0] if batches else None


def read_story(
    settings: Settings, batch: str, prompt_id: str
) -> Iterator[RenderableType]:
    """Yield what each stage made of one prompt; where it failed, why and on which answer."""
    lake = Lake(settings.lake)
    for stage, definition in STAGES.items():
        if definition.transcript is None:
            continue
        try:
            record = _find_record(lake, stage, batch, prompt_id)
            if record is not None:
                page = Markdown(_transcript(lake, stage, batch, record))
                yield Panel(page, title=str(stage), border_style="cyan")
        except OtherLayout as error:
            # The other stages may well be readable.
            yield Panel(Text(str(error)), title=str(stage), border_style="yellow")
        failures = lake.failures(stage, batch)
        own_failures = failures.filter(prompt_id=prompt_id)
        for failure in from_frame(own_failures, Failure):
            yield from _failure_panels(failure, settings)
        if stage == Stage.PREFERENCE_PAIRS:
            yield from _tried_beliefs(lake, batch, prompt_id, settings)
    yield from _translations(lake, batch, prompt_id, settings)


def _failure_panels(failure: Failure, settings: Settings) -> Iterator[RenderableType]:
    # A detail quotes servers and models, which may have quoted a key.
    detail = mask_secrets(failure.detail, settings)
    masked = failure.model_copy(update={"detail": detail})
    page = Markdown(failure_transcript(masked))
    yield Panel(page, title=failure.stage, border_style="red")
    answer = failed_answer_panel(failure, settings)
    if answer is not None:
        yield answer


def _translations(
    lake: Lake, batch: str, prompt_id: str, settings: Settings
) -> Iterator[RenderableType]:
    if not translation_tables(lake):
        return
    story = read_translations(lake, batch, prompt_id)
    for problem in story.unreadable:
        yield Panel(Text(problem), title="translations", border_style="yellow")
    for translation in story.translations:
        row = translation.row
        title = f"translation into {translation.language}, {row.prompt_id}"
        text = f"Of prompt {prompt_id}, by {escape_inline(row.model)}."
        if not translation.holds:
            text += " It is no longer that of the original, and is not exported."
        page = Markdown(f"{text}\n\n{translated_transcript(row)}")
        yield Panel(page, title=title, border_style="cyan")
    for failure in story.untranslated:
        yield from _failure_panels(failure, settings)


def prompt_page(place: PromptPlace) -> RenderableType:
    """Return the prompt itself, which a row that failed at the first stage shows nowhere else."""
    title = f"prompt {place.prompt_id} in {place.batch}"
    text = Text()
    for turn in place.earlier:
        text.append(f"{turn.role}\n", style="bold")
        text.append(f"{visible(turn.content)}\n\n", style="dim")
    if place.earlier:
        text.append("user, to be answered\n", style="bold")
    text.append(visible(place.prompt))
    return Panel(text, title=title, border_style="cyan")


def _tried_beliefs(
    lake: Lake, batch: str, prompt_id: str, settings: Settings
) -> Iterator[RenderableType]:
    """Yield the candidates of the search; nothing if an older release kept none."""
    if not lake.has(BELIEF_CANDIDATES, batch):
        return
    rows = lake.rows(BELIEF_CANDIDATES, batch).filter(prompt_id=prompt_id)
    if rows.height:
        page = candidates_transcript(from_frame(rows, TriedBelief))
        # A note may quote a server, which may have quoted a key.
        page = mask_secrets(page, settings)
        yield Panel(Markdown(page), title=BELIEF_CANDIDATES, border_style="cyan")


def most_telling_prompt(lake: Lake) -> str | None:
    """Return the id of the prompt whose deliberation shows most.

    That is one with several turns, with something dropped, and short enough to read.
    """
    rows = lake.all_rows(Stage.REFINED_COTS, _INTEREST_COLUMNS)
    if rows is None or not rows.height:
        return None
    # The id breaks ties, so the same lake always shows the same deliberation.
    ranked = rows.sort(_interest(), "prompt_id", descending=[True, False])
    prompt_id: str = ranked.item(0, "prompt_id")
    return prompt_id


def read_deliberation(lake: Lake, prompt_id: str) -> RenderableType:
    """Return the deliberation on one prompt as a transcript."""
    batch = batch_of_prompt(lake, prompt_id)
    assert batch is not None
    record = _find_record(lake, Stage.REFINED_COTS, batch, prompt_id)
    assert record is not None
    page = Markdown(_transcript(lake, Stage.REFINED_COTS, batch, record))
    return Panel(page, title="One deliberation", border_style="cyan", padding=(1, 2))


def _find_record(lake: Lake, stage: str, batch: str, prompt_id: str) -> Any | None:
    """Return what a stage made of a prompt, None if it made nothing."""
    if not lake.has(stage, batch):
        return None
    rows = lake.rows(stage, batch).filter(prompt_id=prompt_id)
    if not rows.height:
        return None
    return from_frame(rows, stage_named(stage).record)[0]


def _transcript(lake: Lake, stage: str, batch: str, record: Any) -> str:
    if isinstance(record, RefinedCot):
        return refined_transcript(record, _turns(lake, batch, record.prompt_id))
    transcript = stage_named(stage).transcript
    assert transcript is not None
    return transcript(record)


def _turns(lake: Lake, batch: str, prompt_id: str) -> tuple[Turn, ...]:
    """Return the turns of the deliberation, which are kept with the row before refinement."""
    deliberated = _find_record(lake, Stage.DELIBERATED_COTS, batch, prompt_id)
    # The earlier stage may have been made again, and then without this prompt.
    if not isinstance(deliberated, DeliberatedCot):
        return ()
    return deliberated.turns


def _interest() -> pl.Expr:
    """Return how much there is to see in a row, as an expression on its columns."""
    keep = str(ThoughtVerdict.KEEP)
    verdicts = _each("judgements", "verdict")
    dropped = verdicts.list.eval(pl.element() != keep).list.sum()
    rounds = _each("deliberated_thoughts", "round").list.max()
    harms = _each("intents", "harm")
    malicious = harms.list.eval(pl.element() == "malicious").list.any()
    # Two dropped thoughts and two rounds show what there is to show; more only make it longer.
    score = 3 * pl.min_horizontal(dropped, 2)
    score += 2 * pl.min_horizontal(rounds, 2)
    score -= pl.col("deliberated_cot_tokens") / 400
    # Where something is at stake there is more to see.
    return score + 4 * malicious.cast(pl.Int64)


def _each(column: str, field: str) -> pl.Expr:
    """Return that field of every struct in a column of lists."""
    return pl.col(column).list.eval(pl.element().struct.field(field))
