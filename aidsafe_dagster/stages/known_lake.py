"""A lake as `aidsafe status` reads it: what was read of a partition is kept while its files stand.

The facts lie in a file of SQLite in the home, which may be removed at any time. Each has the stamp
of the files it was read from, so a partition that changed in any way is read anew. Runs and gates
never look here: they go by the bytes of the files.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from aidsafe_dagster.lake.batch_recipes import RECIPES
from aidsafe_dagster.lake.earlier_layouts import LAYOUT
from aidsafe_dagster.lake.file_stamps import stamped_files
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import RecipePart, StageRecipe
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.settings.snapshot import SettingsSnapshot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.partition_facts import (
    RECORD_TABLES,
    PartitionFacts,
    read_facts,
)

R = TypeVar("R", bound=Record)
T = TypeVar("T")
FACTS_FILE = "lake_facts.sqlite"
"""In the home."""
_TABLES = (INGESTED, *STAGES, *RECORD_TABLES)
_FORM = 1
"""Raised when the facts get other fields, or are read otherwise. Records have their layout."""
_CREATE = (
    "CREATE TABLE IF NOT EXISTS facts "
    "(stage TEXT, batch TEXT, stamp TEXT, facts TEXT, PRIMARY KEY (stage, batch))",
    "CREATE TABLE IF NOT EXISTS parts (fingerprint TEXT PRIMARY KEY, parts TEXT)",
)
_PARTS = TypeAdapter(tuple[RecipePart, ...])
_Place = tuple[str, str]
"""Table and batch."""


class KnownLake(Lake):
    """A lake as it was at one moment, which knows the facts of its partitions.

    Args:
        lake: is read.
        file: keeps the facts from command to command. None: nothing keeps them.
    """

    def __init__(self, lake: Lake, file: Path | None = None) -> None:
        super().__init__(str(lake.root))
        self._file = file
        self._stamps: dict[_Place, str] = {}
        self._batches: dict[str, list[str]] = {}
        for table in _TABLES:
            stamps = _stamps(lake, table)
            self._batches[table] = sorted(stamps)
            for batch, stamp in stamps.items():
                self._stamps[table, batch] = stamp
        self._new: dict[_Place, PartitionFacts] = {}
        self._records: dict[_Place, list[Record]] = {}
        self._parts: dict[str, tuple[RecipePart, ...]] = {}
        """Parts of recipes, by fingerprint: those of most batches are the same."""
        self._remembered: dict[_Place, tuple[SettingsSnapshot, Any]] = {}
        self._gone: list[_Place] = []
        """Of which facts are kept still."""
        self._facts = dict(self._load())

    @classmethod
    def of(cls, lake: Lake) -> "KnownLake":
        """Return the lake itself if it is known, else one that remembers for this command."""
        return lake if isinstance(lake, cls) else cls(lake)

    def facts(self, table: str, batch: str) -> PartitionFacts:
        """Return the facts of a partition that is there.

        Raises:
            SetupError: one of its files is damaged.
        """
        place = (str(table), batch)
        if place not in self._facts:
            facts = read_facts(self, table, batch)
            if table == RECIPES:
                self._add_parts(facts.records)
                facts = replace(
                    facts, records=[_without_parts(one) for one in facts.records]
                )
            self._facts[place] = self._new[place] = facts
        return self._facts[place]

    def has(self, table: str, batch: str) -> bool:
        if table not in self._batches:
            return super().has(table, batch)
        return (str(table), batch) in self._stamps

    def batches(self, table: str) -> list[str]:
        if table not in self._batches:
            return super().batches(table)
        return self._batches[table]

    def fingerprint(self, table: str, batch: str) -> str:
        place = (str(table), batch)
        # Facts are being read of a place that is not known yet.
        if place in self._facts and self._facts[place].fingerprint:
            return self._facts[place].fingerprint
        return super().fingerprint(table, batch)

    def records(self, table: str, batch: str, record: type[R]) -> list[R]:
        if table not in RECORD_TABLES or (table, batch) not in self._facts:
            return super().records(table, batch, record)
        place = (table, batch)
        if place not in self._records:
            kept = self._facts[place].records
            self._records[place] = [self._record(record, values) for values in kept]
        return cast("list[R]", self._records[place])

    def remember(
        self, what: str, of: str, snapshot: SettingsSnapshot, make: Callable[[], T]
    ) -> T:
        """Return what follows from a snapshot for a stage or a batch, which is made once."""
        known = self._remembered.get((what, of))
        if known is None or known[0] is not snapshot:
            known = self._remembered[what, of] = (snapshot, make())
        return cast("T", known[1])

    def _record(self, record: type[Record], values: dict[str, Any]) -> Record:
        if record is not StageRecipe or values["fingerprint"] not in self._parts:
            return record.model_validate(values)
        recipe = StageRecipe.model_validate({**values, "parts": ()})
        return recipe.model_copy(update={"parts": self._parts[recipe.fingerprint]})

    def _add_parts(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Keep the parts of recipes apart from the recipes, of which a thousand may share them."""
        for values in records:
            if values["fingerprint"] not in self._parts:
                whole = StageRecipe.model_validate(values)
                self._parts[whole.fingerprint] = whole.parts

    def read_all(self) -> Iterator[tuple[int, int]]:
        """Read what is not known yet, and yield how much of it is done, and how much there is.

        A file that is damaged is left out: whoever asks for its facts is told.
        """
        unknown = [place for place in self._stamps if place not in self._facts]
        for count, (table, batch) in enumerate(unknown, 1):
            with suppress(SetupError):
                self.facts(table, batch)
            yield count, len(unknown)
        self.keep()

    def keep(self) -> None:
        """Write what was read to the file, and remove what is of partitions that are gone.

        Without a place to write, the next command reads it.
        """
        if self._file is None or not (self._new or self._gone):
            return
        entries = []
        for place, facts in self._new.items():
            text = json.dumps(asdict(facts), separators=(",", ":"))
            entries.append((*place, self._stamps[place], text))
        parts = []
        for fingerprint, values in self._parts.items():
            parts.append((fingerprint, _PARTS.dump_json(values).decode()))
        with suppress(sqlite3.Error, OSError), closing(self._open()) as database:
            database.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", entries
            )
            database.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?)", parts)
            database.executemany(
                "DELETE FROM facts WHERE stage = ? AND batch = ?", self._gone
            )
            database.commit()
            self._new.clear()
            self._gone.clear()

    def _load(self) -> Iterator[tuple[_Place, PartitionFacts]]:
        """Yield what is known of partitions whose files have not changed."""
        if self._file is None or not self._file.exists():
            return
        # What is damaged, or of another release, is read again from the lake.
        with suppress(sqlite3.Error, OSError, ValueError, TypeError):
            yield from self._kept()

    def _kept(self) -> Iterator[tuple[_Place, PartitionFacts]]:
        with closing(self._open()) as database, self._removed_if_damaged():
            for fingerprint, text in database.execute("SELECT * FROM parts"):
                self._parts[fingerprint] = _PARTS.validate_json(text)
            for table, batch, stamp, text in database.execute("SELECT * FROM facts"):
                place = (table, batch)
                if place not in self._stamps:
                    self._gone.append(place)
                elif self._stamps[place] == stamp:
                    yield place, PartitionFacts(**json.loads(text))

    def _open(self) -> sqlite3.Connection:
        assert self._file is not None
        database = sqlite3.connect(self._file, timeout=1)
        try:
            # A process that is killed meanwhile costs the facts, which are read again.
            with self._removed_if_damaged():
                database.execute("PRAGMA synchronous=OFF")
                for statement in _CREATE:
                    database.execute(statement)
        except sqlite3.Error:
            database.close()
            raise
        return database

    @contextmanager
    def _removed_if_damaged(self) -> Iterator[None]:
        """Remove the file if it is damaged, so that the facts are kept again."""
        assert self._file is not None
        try:
            yield
        except sqlite3.DatabaseError as error:
            # In use by another command, or not to be written to, is no damage.
            if not isinstance(error, sqlite3.OperationalError):
                with suppress(OSError):
                    self._file.unlink(missing_ok=True)
            raise


def _without_parts(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "parts"}


def _stamps(lake: Lake, table: str) -> dict[str, str]:
    """Return a stamp of each partition of a table; it changes with any of its files."""
    files: dict[str, list[str]] = {}
    for file in stamped_files(lake, table):
        files.setdefault(file.batch, []).append(f"{file.name} {file.stamp}")
    stamps = {}
    for batch, parts in files.items():
        # A folder without rows is a partition whose writing was cut off.
        if any(part.startswith("rows.parquet ") for part in parts):
            stamps[batch] = "\n".join([f"{_FORM} {LAYOUT}", *sorted(parts)])
    return stamps
