"""A lake as `aidsafe status` reads it: what was read of a partition is kept while its files stand.

The facts lie in a file of SQLite in the home, which may be removed at any time. Each has the stamp
of the files it was read from, so a partition that changed in any way is read anew. Runs and gates
never look here: they go by the bytes of the files.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from aidsafe_dagster.lake.batch_recipes import RECIPES
from aidsafe_dagster.lake.earlier_layouts import LAYOUT
from aidsafe_dagster.lake.file_stamps import FileStamp, stamped_files
from aidsafe_dagster.lake.lake import ROWS, Lake
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
_CHUNK_PARTITIONS = 250
"""Read in one pass at most."""
_CHUNK_BYTES = 16 * 1024 * 1024
"""Of files that are read in one pass; their rows take several times as much memory."""
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
    """A lake that knows the facts of its partitions, each table as it was when first asked for.

    Args:
        lake: is read.
        file: keeps the facts from command to command. None: nothing keeps them.
    """

    def __init__(self, lake: Lake, file: Path | None = None) -> None:
        super().__init__(str(lake.root))
        self._file = file
        self._stamps: dict[_Place, str] = {}
        self._sizes: dict[_Place, int] = {}
        self._batches: dict[str, list[str]] = {}
        """Of the tables that were asked for."""
        self._new: dict[_Place, PartitionFacts] = {}
        self._records: dict[_Place, list[Record]] = {}
        self._parts: dict[str, tuple[RecipePart, ...]] = {}
        """Parts of recipes, by fingerprint: those of most batches are the same."""
        self._remembered: dict[_Place, tuple[SettingsSnapshot, Any]] = {}
        self._gone: list[_Place] = []
        """Of which facts are kept still."""
        self._facts: dict[_Place, PartitionFacts] = {}

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
        self._look_at(table)
        if place not in self._facts:
            self._read(table, [batch])
        return self._facts[place]

    def has(self, table: str, batch: str) -> bool:
        if table not in _TABLES:
            return super().has(table, batch)
        self._look_at(table)
        return (str(table), batch) in self._stamps

    def batches(self, table: str) -> list[str]:
        if table not in _TABLES:
            return super().batches(table)
        self._look_at(table)
        return self._batches[table]

    def fingerprint(self, table: str, batch: str) -> str:
        place = (str(table), batch)
        self._look_at(table)
        # Facts are being read of a place that is not known yet.
        if place in self._facts and self._facts[place].fingerprint:
            return self._facts[place].fingerprint
        return super().fingerprint(table, batch)

    def records(self, table: str, batch: str, record: type[R]) -> list[R]:
        self._look_at(table)
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

    def _look_at(self, table: str) -> None:
        """See which partitions a table has, and what is known of them, unless that was done."""
        if table in self._batches or table not in _TABLES:
            return
        self._stamp(str(table))
        self._facts.update(self._load(str(table)))

    def _stamp(self, table: str) -> None:
        """Give each partition of a table a stamp, which changes with any of its files."""
        by_batch: dict[str, list[FileStamp]] = {}
        for file in stamped_files(self, table):
            by_batch.setdefault(file.batch, []).append(file)
        for batch, own in by_batch.items():
            # A folder without rows is a partition whose writing was cut off.
            if any(file.name == ROWS for file in own):
                parts = sorted(f"{file.name} {file.stamp}" for file in own)
                self._stamps[table, batch] = "\n".join([f"{_FORM} {LAYOUT}", *parts])
                self._sizes[table, batch] = sum(file.size for file in own)
        self._batches[table] = sorted(
            batch for batch in by_batch if (table, batch) in self._stamps
        )

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
        for table in _TABLES:
            self._look_at(table)
        unknown = [place for place in self._stamps if place not in self._facts]
        done = 0
        for table, batches in self._chunks(unknown):
            try:
                self._read(table, batches)
            except SetupError:
                for batch in batches:
                    with suppress(SetupError):
                        self._read(table, [batch])
            for _ in batches:
                done += 1
                yield done, len(unknown)
        self.keep()

    def _read(self, table: str, batches: Sequence[str]) -> None:
        """Read the facts of partitions of a table.

        Raises:
            SetupError: one of their files is damaged.
        """
        for batch, facts in read_facts(self, table, batches).items():
            known = facts
            if table == RECIPES:
                self._add_parts(facts.records)
                records = [_without_parts(one) for one in facts.records]
                known = replace(facts, records=records)
            place = (str(table), batch)
            self._facts[place] = self._new[place] = known

    def _chunks(self, places: Iterable[_Place]) -> Iterator[tuple[str, list[str]]]:
        """Yield partitions of one table that are read at once, by table and batches."""
        for table, of_table in groupby(places, key=lambda place: place[0]):
            chunk: list[str] = []
            size = 0
            for _, batch in of_table:
                size += self._sizes[table, batch]
                if chunk and (size > _CHUNK_BYTES or len(chunk) == _CHUNK_PARTITIONS):
                    yield table, chunk
                    chunk, size = [], self._sizes[table, batch]
                chunk.append(batch)
            yield table, chunk

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

    def _load(self, table: str) -> Iterator[tuple[_Place, PartitionFacts]]:
        """Yield what is known of a table's partitions whose files have not changed."""
        if self._file is None or not self._file.exists():
            return
        # What is damaged, or of another release, is read again from the lake.
        with suppress(sqlite3.Error, OSError, ValueError, TypeError):
            yield from self._kept(table)

    def _kept(self, table: str) -> Iterator[tuple[_Place, PartitionFacts]]:
        with closing(self._open()) as database, self._removed_if_damaged():
            if table == RECIPES:
                for fingerprint, text in database.execute("SELECT * FROM parts"):
                    self._parts[fingerprint] = _PARTS.validate_json(text)
            places = []
            texts = []
            kept = "SELECT batch, stamp, facts FROM facts WHERE stage = ?"
            for batch, stamp, text in database.execute(kept, (table,)):
                place = (table, batch)
                if place not in self._stamps:
                    self._gone.append(place)
                elif self._stamps[place] == stamp:
                    places.append(place)
                    texts.append(text)
            # As one text, which is read in a third of the time of thousands.
            values = json.loads(f"[{','.join(texts)}]")
            for place, facts in zip(places, values, strict=True):
                yield place, PartitionFacts(**facts)

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
