"""The general mix: how many benign prompts go with the safety ones, as a stable choice over the whole dataset.

Without general data a model that is trained on safety alone refuses too much and forgets what else it could do; with
too much of it the safety is diluted. AIDSAFE trains on as many general prompts (Alpagasus) as harmful ones
(BeaverTails), a ratio of 1.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from math import floor
from typing import NamedTuple

from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.records import PromptKind

_ROUNDING = 1e-9  # 0.29 × 100 is 29, though floating point has a little less


class MixRow(NamedTuple):
    """What decides on an SFT row."""

    prompt_id: str
    prompt_kind: PromptKind
    split: Split


def select_general(rows: Iterable[MixRow], ratio: float | None) -> set[str]:
    """Ids of the prompts whose SFT rows stay: all borderline and harmful ones, and for each `ratio` benign ones.

    Split by split, so that every split has the same mix. The benign prompts stand in an order of their own, by a hash
    of their ids, and the first of them stay: a batch that is added moves no row to another split, and changes the
    choice only by as many rows as the ratio and the new rows ask for. Rounded down; None keeps all. Preference pairs
    have a mix of their own (`pairs.over_refusal_share`).
    """
    given = set(rows)
    benign = sorted((row for row in given if row.prompt_kind == "benign"), key=_place)
    safety = Counter(row.split for row in given if row.prompt_kind != "benign")
    kept = {row.prompt_id for row in given if row.prompt_kind != "benign"}
    for split in {row.split for row in benign}:
        of_split = [row.prompt_id for row in benign if row.split == split]
        kept.update(
            of_split if ratio is None else of_split[: floor(ratio * safety[split] + _ROUNDING)]
        )
    return kept


def _place(row: MixRow) -> bytes:
    """Place of a prompt in an order that nobody chose and that never changes."""
    return hashlib.blake2b(f"general:{row.prompt_id}".encode(), digest_size=8).digest()
