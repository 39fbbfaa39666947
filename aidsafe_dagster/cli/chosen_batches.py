"""The options `--batch` and `--source`, by which a command is about some batches alone."""

from collections.abc import Collection, Sequence
from typing import Annotated

import typer

Batches = Annotated[
    list[str] | None,
    typer.Option("--batch", help="This batch alone; may be given again."),
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="The batches of this source; may be given again."),
]


def choose_batches(
    known: Collection[str],
    batches: Sequence[str] | None,
    sources: Sequence[str] | None,
    where: str,
) -> tuple[str, ...]:
    """Return the batches that are named, by themselves or by their source; none: all are meant.

    Args:
        known: all batches.
        batches: keys.
        sources: names of sources.
        where: the command, for the message.

    Raises:
        SetupError: there is no such batch or source; names the nearest.
    """
    from aidsafe_dagster.recipe.errors import unknown

    chosen: dict[str, None] = {}
    for batch in batches or ():
        if batch not in known:
            raise unknown("batch", batch, known, where)
        chosen[batch] = None
    for source in sources or ():
        of_source = [batch for batch in known if source_of(batch) == source]
        if not of_source:
            names = {source_of(batch) for batch in known}
            raise unknown("source", source, names, where)
        chosen |= dict.fromkeys(sorted(of_source))
    return tuple(chosen)


def source_of(batch: str) -> str:
    """Return the name of the source of a batch, which its key begins with."""
    return batch.rpartition("-")[0]
