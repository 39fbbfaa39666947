"""Where reviews are stored: the key of each review and its ratings, in files that never change.

    <home>/reviews/<review id>/key.parquet
    <home>/reviews/<review id>/ratings/<number>-<hash>.parquet      the ratings of one file

The hash is that of the ratings, so reading a file twice changes nothing. If a rater rates an item
twice, the later file wins.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from aidsafe_dagster.lake.tables import from_frame, to_frame
from aidsafe_dagster.primitives.atomic_write import atomic_write
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.review.ratings import Rating
from aidsafe_dagster.review.sample import KeyRow, ReviewSample


class Archive:
    """The reviews of a project folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "reviews"

    def reviews(self) -> list[str]:
        """Return the ids of the reviews made so far, sorted."""
        return sorted(key.parent.name for key in self.folder.glob("*/key.parquet"))

    def store_key(self, sample: ReviewSample) -> None:
        """Store what the items of a review are."""
        _write_records(
            self.folder / sample.review_id / "key.parquet",
            sample.key,
            KeyRow,
        )

    def key(self, review_id: str) -> list[KeyRow]:
        """Return what the items of a review are.

        Raises:
            SetupError: no such review was made here, or its key is damaged.
        """
        reviews = self.reviews()
        # A form that comes back may be another project's.
        if review_id not in reviews:
            raise unknown("review", review_id, reviews, str(self.folder))
        return _read_records(self.folder / review_id / "key.parquet", KeyRow)

    def add_ratings(self, review_id: str, ratings: Sequence[Rating]) -> bool:
        """Store the ratings of one file; return False if the same ratings are stored already."""
        folder = self.folder / review_id / "ratings"
        # Of the ratings and not of the file: the same form saved twice may differ in its bytes.
        text = "\n".join(rating.model_dump_json() for rating in ratings)
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if any(folder.glob(f"*-{digest}.parquet")):
            return False
        # Numbered names sort in the order in which the files were read.
        number = len(_parquet_files(folder)) + 1
        _write_records(
            folder / f"{number:06}-{digest}.parquet",
            ratings,
            Rating,
        )
        return True

    def ratings(self, review_id: str) -> list[Rating]:
        """Return the ratings in force: one per rater and item."""
        # In the order of reading: what a rater says later replaces what was there.
        latest = {}
        for file in _parquet_files(self.folder / review_id / "ratings"):
            for rating in _read_records(file, Rating):
                latest[rating.rater, rating.item_id] = rating
        return [latest[key] for key in sorted(latest)]


def _parquet_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _write_records(file: Path, rows: Sequence[Record], record: type[Record]) -> None:
    with atomic_write(file) as partial:
        to_frame(rows, record).write_parquet(partial)


def _read_records(file: Path, record: type[Any]) -> list[Any]:
    try:
        return from_frame(pl.read_parquet(file, glob=False), record)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise SetupError(
            f"{file}: not a readable file of a review ({error})"
        ) from error
