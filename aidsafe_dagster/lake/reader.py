"""`open_lake`: the tables of a lake, to read as polars frames."""

from pathlib import Path

import polars as pl

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import unknown
from aidsafe_dagster.recipe.stages import STAGES


class LakeTables:
    """Read access to a lake. Nothing is written.

    Args:
        root: a local path or any fsspec URL.
    """

    def __init__(self, root: str | Path) -> None:
        self._lake = Lake(root)

    @property
    def tables(self) -> list[str]:
        """Names of the tables with at least one batch: stages in the order of the recipe first."""
        names = [name for name in self._lake.tables() if self._lake.batches(name)]
        order = [str(stage) for stage in STAGES]
        return sorted(names, key=lambda name: _place(name, order))

    def batches(self, table: str) -> list[str]:
        """Return the keys of a table's batches, sorted."""
        return self._lake.batches(table)

    def rows(
        self, table: str, batch: str = "", columns: list[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of a table, of all batches or of one.

        Args:
            table: a stage, or another one of `tables`.
            batch: its key; empty: all batches.
            columns: those to read; None: all.

        Raises:
            SetupError: there is no such table or batch, or a file is damaged.
        """
        if batch:
            return self._lake.rows(table, batch, columns)
        frame = self._lake.all_rows(table, columns)
        if frame is None:
            raise unknown("table", table, self.tables, str(self._lake.root))
        return frame

    def failures(self) -> pl.DataFrame:
        """Return the failed rows of all stages and batches, with reason and detail."""
        return self._lake.all_failures()

    def __repr__(self) -> str:
        tables = []
        for name in self.tables:
            count = len(self.batches(name))
            noun = "batch" if count == 1 else "batches"
            tables.append(f"{name} ({count} {noun})")
        return f"<Lake at {self._lake.root}: {', '.join(tables) or 'empty'}>"


def open_lake(path: str | Path) -> LakeTables:
    """Open a lake to read its tables as polars frames.

        from aidsafe_dagster import open_lake

        lake = open_lake("data/lake")
        lake.rows("refined_cots", columns=["prompt", "response"])

    Args:
        path: the folder `lake` of a home or of a tryout, or any fsspec URL. It may be empty.
    """
    return LakeTables(path)


def _place(name: str, order: list[str]) -> tuple[int, str]:
    return (order.index(name), "") if name in order else (len(order), name)
