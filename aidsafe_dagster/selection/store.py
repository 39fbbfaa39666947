"""The selection in force, in a lake of its own below the lake.

    _selections/rows/batch=<hash of the rows>/…     what became of each row
    _selections/facts/batch=latest/…                which rows these are, and what they add up to
    _selections/embeddings/batch=<batch>/…          vectors of a batch's prompts, by one model

The facts are written last and name the rows, so a process that is killed leaves the selection
before in force. Folders with an underscore hold no table, so nothing else reads them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.selection.records import SelectionFacts, SelectionRow
from aidsafe_dagster.selection.select import ALL, RANDOM, SELECTED, Selection

FOLDER = "_selections"
ROWS, _FACTS, _EMBEDDINGS = "rows", "facts", "embeddings"
_LATEST = "latest"
_MAX_NAMED = 5
ARMS = (ALL, SELECTED, RANDOM)
"""Which rows of the train split are trained on: all, the selection, or the draw beside it."""
NO_SELECTION = "nothing has been selected yet (`aidsafe select`)"


def store_selection(lake: Lake, selection: Selection) -> None:
    """Put a selection in force; the one before is removed."""
    own = lake.inner(FOLDER)
    key = selection.facts.rows_key
    own.store(ROWS, key, selection.rows, SelectionRow)
    own.store(_FACTS, _LATEST, [selection.facts], SelectionFacts)
    for other in own.batches(ROWS):
        if other != key:
            own.remove(ROWS, other)


@dataclass(frozen=True)
class StoredSelection:
    """The selection in force. Its rows are read on first use."""

    lake: Lake
    facts: SelectionFacts

    @cached_property
    def rows(self) -> Sequence[SelectionRow]:
        own = self.lake.inner(FOLDER)
        return own.records(ROWS, self.facts.rows_key, SelectionRow)

    @cached_property
    def chosen(self) -> Mapping[str, SelectionRow]:
        """Prompt id → its row, in the order in which they were chosen."""
        return {row.prompt_id: row for row in self.rows if row.status == "chosen"}

    @cached_property
    def drawn(self) -> frozenset[str]:
        """The prompts of the random draw of the same size."""
        return frozenset(row.prompt_id for row in self.rows if row.drawn)

    @property
    def batches(self) -> frozenset[str]:
        return frozenset(mark.batch for mark in self.facts.batches)

    def why_not_of(self, batches: Collection[str]) -> str:
        """Return why this is no selection of these batches; empty if it is one."""
        absent = sorted(self.batches.difference(batches))
        if absent:
            return f"rows were selected from other batches as well: {_listed(absent)}"
        return self.why_outdated()

    def why_outdated(self) -> str:
        """Return the batches that are no longer what was chosen from; empty if all are."""
        changed = []
        for mark in self.facts.batches:
            now = ""
            if self.lake.has(Stage.FINE_TUNE_SPLITS, mark.batch):
                now = self.lake.fingerprint(Stage.FINE_TUNE_SPLITS, mark.batch)
            if now != mark.fingerprint:
                changed.append(mark.batch)
        if not changed:
            return ""
        return (
            f"made again or forgotten since the selection: {_listed(changed)} "
            "(`aidsafe select`)"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_NAMED]) + (" …" if len(names) > _MAX_NAMED else "")


def read_selection(lake: Lake) -> StoredSelection | None:
    """Return the selection in force; None if there is none.

    Raises:
        SetupError: its file is damaged.
    """
    own = lake.inner(FOLDER)
    if not own.has(_FACTS, _LATEST):
        return None
    (facts,) = own.records(_FACTS, _LATEST, SelectionFacts)
    return StoredSelection(lake, facts)


def require_selection(lake: Lake, batches: Collection[str]) -> StoredSelection:
    """Return the selection in force, which is one of these batches.

    Raises:
        SetupError: there is none, or it is of other batches or of other rows of them.
    """
    selection = read_selection(lake)
    if selection is None:
        raise SetupError(NO_SELECTION)
    reason = selection.why_not_of(batches)
    if reason:
        raise SetupError(f"the selection does not fit: {reason}")
    return selection


def train_prompts(
    lake: Lake, arm: str, batches: Collection[str]
) -> Collection[str] | None:
    """Return the prompts of the train split that an arm learns from; None: all of them.

    Args:
        lake: holds the selection.
        arm: one of `ARMS`.
        batches: those that are trained on.

    Raises:
        SetupError: there is no such arm, or no selection of these batches.
    """
    if arm not in ARMS:
        raise unknown("arm", arm, ARMS, "rows")
    if arm == ALL:
        return None
    selection = require_selection(lake, batches)
    return selection.chosen.keys() if arm == SELECTED else selection.drawn


def stored_embeddings(
    lake: Lake, rows: pl.DataFrame, embed: Callable[[Sequence[str]], Any], model: str
) -> NDArray[Any]:
    """Return a vector for each row, in their order; what was embedded before is not asked again.

    Args:
        lake: where the vectors are kept, batch by batch.
        rows: with `batch`, `prompt_id` and `prompt`.
        embed: turns texts into vectors.
        model: the model and its server; another model's vectors are replaced.

    Raises:
        SetupError: a text cannot be embedded.
    """
    own = lake.inner(FOLDER)
    vectors: dict[str, NDArray[Any]] = {}
    for (batch,), of_batch in rows.group_by("batch", maintain_order=True):
        known = _known_vectors(own, str(batch), model)
        missing = of_batch.filter(~pl.col("prompt_id").is_in(list(known)))
        if missing.height:
            new_vectors = np.asarray(
                embed(missing["prompt"].to_list()), dtype=np.float32
            )
            known |= dict(zip(missing["prompt_id"], new_vectors, strict=True))
            _keep_vectors(own, str(batch), model, known)
        vectors |= known
    return np.stack([vectors[prompt_id] for prompt_id in rows["prompt_id"]])


def _known_vectors(own: Lake, batch: str, model: str) -> dict[str, NDArray[Any]]:
    if not own.has(_EMBEDDINGS, batch):
        return {}
    frame = own.rows(_EMBEDDINGS, batch).filter(model=model)
    return dict(zip(frame["prompt_id"], frame["vector"].to_numpy(), strict=True))


def _keep_vectors(
    own: Lake, batch: str, model: str, vectors: Mapping[str, NDArray[Any]]
) -> None:
    stacked = np.stack(list(vectors.values()))
    frame = pl.DataFrame(
        {
            "prompt_id": list(vectors),
            "model": [model] * len(vectors),
            "vector": pl.Series(stacked, dtype=pl.Array(pl.Float32, stacked.shape[1])),
        }
    )
    own.write(_EMBEDDINGS, batch, frame)
