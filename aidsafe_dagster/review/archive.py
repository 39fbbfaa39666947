"""Where reviews are kept: the key of each, and what its raters said, in files that only ever appear.

    <home>/reviews/<review id>/key.parquet
    <home>/reviews/<review id>/ratings/<number>-<hash>.parquet      one file of ratings as read, never changed

The hash is of the ratings, so a file that is read a second time changes nothing. Of what one rater says twice of an
item, the later file holds.
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
    """The reviews of a site."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "reviews"

    def reviews(self) -> list[str]:
        """Ids of the reviews made so far, sorted."""
        return sorted(key.parent.name for key in self.folder.glob("*/key.parquet"))

    def put_key(self, sample: ReviewSample) -> None:
        _put(self.folder / sample.review_id / "key.parquet", sample.key, KeyRow)

    def key(self, review_id: str) -> list[KeyRow]:
        """What the items of a review are.

        Raises:
            SetupError: no such review was made here, or its key is damaged.
        """
        known = self.reviews()
        if review_id not in known:
            raise unknown("review", review_id, known, str(self.folder))
        return _read(self.folder / review_id / "key.parquet", KeyRow)

    def add_ratings(self, review_id: str, ratings: Sequence[Rating]) -> bool:
        """Keeps the ratings of one file; False if the same were kept before."""
        folder = self.folder / review_id / "ratings"
        text = "\n".join(rating.model_dump_json() for rating in ratings)
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if any(folder.glob(f"*-{digest}.parquet")):
            return False
        _put(folder / f"{len(_files(folder)) + 1:06}-{digest}.parquet", ratings, Rating)
        return True

    def ratings(self, review_id: str) -> list[Rating]:
        """What holds: one rating per rater and item."""
        held = {}
        for file in _files(self.folder / review_id / "ratings"):
            held.update({(rating.rater, rating.item_id): rating for rating in _read(file, Rating)})
        return [held[place] for place in sorted(held)]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _put(file: Path, rows: Sequence[Record], record: type[Record]) -> None:
    """A file appears whole or not at all."""
    with atomic_write(file) as temporary:
        to_frame(rows, record).write_parquet(temporary)


def _read(file: Path, record: type[Any]) -> list[Any]:
    try:
        return from_frame(pl.read_parquet(file, glob=False), record)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise SetupError(f"{file}: not a readable file of a review ({error})") from error
