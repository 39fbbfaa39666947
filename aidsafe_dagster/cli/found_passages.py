"""Where a text stands, for the terminal: prompt, place, and the passage with the match marked.

Rows are users' and models' words. They reach the terminal as text alone.
"""

from collections.abc import Sequence
from contextlib import closing

import polars as pl
from rich.text import Text

from aidsafe_dagster.cli.console import console, print_plain, quantity
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.translations import (
    is_translation_table,
    language_name_of,
    translation_tables,
)
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import BELIEF_CANDIDATES
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.failure_lines import mask_secrets, plain_line
from aidsafe_dagster.viewer.catalogue import Catalogue
from aidsafe_dagster.viewer.filters import Filters
from aidsafe_dagster.viewer.folding import excerpt, folded, words_of
from aidsafe_dagster.viewer.row_index import RowIndex

_WIDTH = 80
_INDENT = "    "
_MOST_PLACES = 4
"""Passages of one prompt that are printed; the others are counted."""
_MANY_BATCHES = 4
_MARK = "bold black on yellow"


def print_passages(
    settings: Settings, query: str, *, batch: str | None, stage: str | None, limit: int
) -> bool:
    """Print what contains the text, prompt by prompt; return whether anything does.

    Raises:
        SetupError: there is no such batch or stage, or nothing is searched for.
    """
    lake = Lake(settings.lake)
    words = words_of(query)
    if not words:
        raise SetupError("nothing to search for; give a word or a phrase")
    if batch is not None and batch not in lake.batches(INGESTED):
        raise unknown("batch", batch, lake.batches(INGESTED), str(lake.root))
    stages = [*STAGES, BELIEF_CANDIDATES, *translation_tables(lake)]
    if stage is not None and stage not in stages:
        raise unknown("stage", stage, stages, "find")
    with closing(RowIndex(lake, settings.home)) as index:
        _refresh(index)
        passages = _passages(Catalogue(index), words, batch or "", stage)
    prompt_ids = passages["prompt_id"].unique(maintain_order=True).to_list()
    for prompt_id in prompt_ids[: limit or None]:
        _print_prompt(passages.filter(prompt_id=prompt_id), words, settings)
    if not prompt_ids:
        where = f" at {stage}" if stage else ""
        print_plain(f"No row{where} contains that.")
        return False
    summary = f"{quantity(passages.height, 'passage')} in "
    summary += quantity(len(prompt_ids), "prompt")
    if limit and len(prompt_ids) > limit:
        summary += f"; {limit:,} prompts are listed, --limit 0 lists all"
    print_plain(f"{summary}.")
    print_plain(
        "`aidsafe show PROMPT_ID` prints one in full; `aidsafe view` shows all."
    )
    return True


def _refresh(index: RowIndex) -> None:
    """Bring the index up to date, with a word if that takes a while."""
    with console.status("Reading the lake …") as status:

        def tell(known: int, all_batches: int) -> None:
            if all_batches > _MANY_BATCHES:
                status.update(
                    f"Reading the lake: {known:,} of {all_batches:,} batches …"
                )

        index.refresh(tell)
    for problems in index.problems.values():
        for problem in problems:
            print_plain(f"Not searched: {problem}")


def _passages(
    catalogue: Catalogue, words: Sequence[str], batch: str, stage: str | None
) -> pl.DataFrame:
    """Return the texts that contain a word, of the prompts that contain all: a line each."""
    prompts = catalogue.matching(Filters(batch=batch), words)
    if not prompts.height:
        return prompts
    batches = prompts["batch"].unique().sort().to_list()
    texts = catalogue.texts(batches, prompts["prompt_id"].to_list())
    contains = pl.any_horizontal(
        [pl.col("folded").str.contains(word, literal=True) for word in words]
    )
    # An id is no text; its prompt stands for it.
    by_id = pl.col("prompt_id").str.starts_with(words[0]) & (
        pl.col("place") == "prompts prompt"
    )
    found = texts.with_columns(folded(texts["text"]).alias("folded"))
    found = found.filter(contains | by_id)
    if stage is not None:
        places = pl.col("place").str.split(", ")
        at_stage = pl.element().str.starts_with(f"{stage} ")
        of_stage = places.list.eval(pl.element().filter(at_stage))
        found = found.with_columns(place=of_stage.list.join(", "))
        found = found.filter(pl.col("place") != "")
    order = prompts.with_row_index("order")
    return found.join(order, on="prompt_id", maintain_order="left").sort(
        "order", maintain_order=True
    )


def _print_prompt(
    passages: pl.DataFrame, words: Sequence[str], settings: Settings
) -> None:
    prompt_id, batch = passages.select("prompt_id", "batch").row(0)
    print_plain(f"{prompt_id} {batch}")
    shown = passages.head(_MOST_PLACES)
    for place, text in shown.select("place", "text").iter_rows():
        print_plain(f"  {plain_line(_labelled(place), _WIDTH - 2)}")
        console.print(
            _marked(mask_secrets(text, settings), words),
            highlight=False,
            soft_wrap=True,
        )
    if passages.height > len(shown):
        more = passages.height - len(shown)
        print_plain(f"  and {quantity(more, 'more passage')}")


def _labelled(place: str) -> str:
    """Return a place as it is, with the language where it is a translation."""
    labelled = []
    for one in place.split(", "):
        table = one.partition(" ")[0]
        into = f" ({language_name_of(table)})" if is_translation_table(table) else ""
        labelled.append(f"{one}{into}")
    return ", ".join(labelled)


def _marked(text: str, words: Sequence[str]) -> Text:
    room = _WIDTH - len(_INDENT) - 2
    line = _excerpt(text, words, room)
    if line.cell_len > room + 2:
        # Chinese letters take two columns each.
        line = _excerpt(text, words, room * room // line.cell_len)
    return Text(_INDENT) + line


def _excerpt(text: str, words: Sequence[str], width: int) -> Text:
    line = Text()
    for passage in excerpt(text, words, width):
        piece = _plain_piece(passage.text)
        line.append(piece, style=_MARK if passage.is_match else "")
    return line


def _plain_piece(text: str) -> str:
    """Return a piece of a line without invisible characters, its spaces kept."""
    kept = plain_line(f"|{text}|", len(text) + 10)
    return kept[1:-1]
