"""The general mix: which benign prompts join the safety ones, as a stable choice over the dataset.

A model trained on safety data alone refuses too much and forgets its other skills. Too much general
data dilutes the safety. AIDSAFE trains on as many general prompts (Alpagasus) as harmful ones
(BeaverTails), a ratio of 1.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import floor
from typing import NamedTuple

from aidsafe_dagster.recipe.fine_tune_splits import Split
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import PromptKind

# 0.29 × 100 should be 29, but floating-point arithmetic yields slightly less.
_ROUNDING = 1e-9


class MixRow(NamedTuple):
    """The columns of an SFT row that decide whether it stays."""

    prompt_id: str
    prompt_kind: PromptKind
    split: Split


def select_general(rows: Iterable[MixRow], ratio: float | None) -> set[str]:
    """Return the ids of the prompts whose SFT rows stay in the mix.

    All borderline and harmful prompts stay, and `ratio` benign ones for each of them, rounded down.
    None keeps all. The choice is made split by split, so all splits have the same mix. Benign
    prompts are ordered by a hash of their ids, and the first of them stay, so a new batch changes
    the choice only as far as the ratio and the new rows require. Preference pairs have a mix of
    their own (`pairs.over_refusal_share`).
    """
    kept: set[str] = set()
    safety_rows: Counter[Split] = Counter()
    benign: defaultdict[Split, list[str]] = defaultdict(list)
    for row in set(rows):
        if row.prompt_kind == "benign":
            benign[row.split].append(row.prompt_id)
        else:
            kept.add(row.prompt_id)
            safety_rows[row.split] += 1
    for split, prompt_ids in benign.items():
        if ratio is None:
            kept.update(prompt_ids)
        else:
            # Only the ids decide the order, so a prompt keeps its place when others are added.
            room = floor(ratio * safety_rows[split] + _ROUNDING)
            prompt_ids.sort(key=lambda prompt_id: hash_rank("general", prompt_id))
            kept.update(prompt_ids[:room])
    return kept
