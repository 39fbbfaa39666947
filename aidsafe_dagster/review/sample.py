"""Draw the items that people rate: two chains of thought on one prompt, blinded and shuffled.

A prompt is in one item only. If it came twice, raters would know the version that they see again as
the refined one. Hashes of the seed decide everything, so the same rows and the same seed make the
same review.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import Message, Record, Stage, Version, as_text

Pair = tuple[Version, Version]
PAIRS: tuple[Pair, ...] = (("refined", "single_llm"), ("refined", "deliberated"))
"""With and without deliberation; with and without the refiner."""
_STAGES: Mapping[Version, Stage] = {
    "single_llm": Stage.SINGLE_LLM_COTS,
    "deliberated": Stage.DELIBERATED_COTS,
    "refined": Stage.REFINED_COTS,
}
_COLUMNS = [
    "prompt_id",
    "batch",
    "prompt",
    "earlier",
    "thoughts",
    "response",
    "simulated",
]


class Side(Record):
    """What a rater sees of one version."""

    thoughts: tuple[str, ...]
    response: str


class Item(Record):
    """One question to a rater. It names no version, no batch and no prompt id."""

    item_id: str
    prompt: str
    left: Side
    right: Side


class KeyRow(Record):
    """What an item really is. It never leaves the project folder."""

    item_id: str
    prompt_id: str
    batch: str
    left: Version
    right: Version
    simulated: bool


@dataclass(frozen=True)
class ReviewSample:
    """The items of one review and the key to them."""

    review_id: str
    """'review-' and a hash of the items.

    It begins with letters, so that no spreadsheet takes it for a number.
    """
    items: tuple[Item, ...]
    key: tuple[KeyRow, ...]
    left_out: int = 0
    """Simulated batches, where there are others."""

    @property
    def simulated(self) -> bool:
        return any(row.simulated for row in self.key)


@dataclass(frozen=True)
class _Cot:
    prompt_id: str
    batch: str
    prompt: str
    side: Side
    simulated: bool


_Cots = Mapping[Version, Mapping[str, _Cot]]
"""Version → prompt id → its chain of thought."""


def parse_pair(text: str) -> Pair:
    """Parse a pair of versions, such as 'refined,single_llm'.

    Raises:
        SetupError: the text does not name two different versions.
    """
    versions: dict[str, Version] = {version: version for version in get_args(Version)}
    names = list(map(str.strip, text.split(",")))
    for name in names:
        if name not in versions:
            raise unknown("version", name, versions, f"--of {text}")
    if len(set(names)) != 2:
        raise SetupError(
            f"--of {text}: needs two different versions, such as 'refined,single_llm'"
        )
    return versions[names[0]], versions[names[1]]


def draw_sample(
    lake: Lake,
    size: int,
    pairs: Sequence[Pair],
    seed: int,
    batches: Collection[str] = (),
) -> ReviewSample:
    """Draw at most `size` items, spread evenly over the pairs.

    Simulated batches are left out if there are others.

    Args:
        lake: holds the rows.
        size: of the sample, in items.
        pairs: of versions to compare.
        seed: another one draws another sample.
        batches: from these alone; none: from all.

    Raises:
        SetupError: no prompt has both versions of any of the pairs.
    """
    versions = dict.fromkeys(version for pair in pairs for version in pair)
    all_cots = {version: _read_cots(lake, version) for version in versions}
    cots, left_out = _without_rehearsal(_of_batches(all_cots, batches))
    selection = _choose_prompts(cots, size, pairs, seed)
    if not selection:
        wanted = " or ".join(map(" and ".join, pairs))
        raise SetupError(
            f"{lake.root}: no prompt has both a {wanted} chain of thought; make a batch first"
        )
    items, key = [], []
    # Items are numbered in the shuffled order, so that a number says nothing about the prompt.
    for number, (prompt_id, pair) in enumerate(selection.items(), start=1):
        left, right = pair
        # About half of the items show the refined version on the left.
        if hash_rank(seed, "side", prompt_id) % 2 == 0:
            left, right = right, left
        left_cot = cots[left][prompt_id]
        right_cot = cots[right][prompt_id]
        item = Item(
            item_id=f"item-{number:03}",
            # Both versions have the same prompt.
            prompt=left_cot.prompt,
            left=left_cot.side,
            right=right_cot.side,
        )
        key_row = KeyRow(
            item_id=item.item_id,
            prompt_id=prompt_id,
            batch=left_cot.batch,
            left=left,
            right=right,
            simulated=left_cot.simulated or right_cot.simulated,
        )
        items.append(item)
        key.append(key_row)
    return ReviewSample(
        _review_id(items),
        tuple(items),
        tuple(key),
        left_out,
    )


def _read_cots(lake: Lake, version: Version) -> dict[str, _Cot]:
    rows = lake.all_rows(_STAGES[version], _COLUMNS)
    if rows is None:
        return {}
    cots = {}
    for row in rows.iter_rows(named=True):
        cots[row["prompt_id"]] = _to_cot(row)
    return cots


def _of_batches(cots: _Cots, batches: Collection[str]) -> _Cots:
    if not batches:
        return cots
    return _filtered(cots, lambda cot: cot.batch in batches)


def _without_rehearsal(cots: _Cots) -> tuple[_Cots, int]:
    """Leave simulated batches out if there are others; return how many these are."""
    all_cots = [cot for of_version in cots.values() for cot in of_version.values()]
    simulated = {cot.batch for cot in all_cots if cot.simulated}
    if not {cot.batch for cot in all_cots} - simulated:
        return cots, 0
    return _filtered(cots, lambda cot: cot.batch not in simulated), len(simulated)


def _filtered(cots: _Cots, is_wanted: Callable[[_Cot], bool]) -> _Cots:
    chosen: dict[Version, dict[str, _Cot]] = {}
    for version, of_version in cots.items():
        chosen[version] = {
            key: cot for key, cot in of_version.items() if is_wanted(cot)
        }
    return chosen


def _to_cot(row: Mapping[str, object]) -> _Cot:
    thoughts: Iterable[Mapping[str, str]] = row["thoughts"]  # type: ignore[assignment]
    texts = tuple(thought["text"] for thought in thoughts)
    earlier: Iterable[Mapping[str, str]] = row["earlier"] or ()  # type: ignore[assignment]
    turns = [Message.model_validate(turn) for turn in earlier]
    turns.append(Message(role="user", content=str(row["prompt"])))
    return _Cot(
        prompt_id=str(row["prompt_id"]),
        batch=str(row["batch"]),
        prompt=as_text(turns),
        side=Side(thoughts=texts, response=str(row["response"])),
        simulated=bool(row["simulated"]),
    )


def _choose_prompts(
    cots: _Cots, size: int, pairs: Sequence[Pair], seed: int
) -> dict[str, Pair]:
    """Return prompt id → pair, in the order of the form.

    The pairs choose round-robin, each from its own shuffled candidates. The choice is shuffled once
    more, so that the order of the items says nothing about their pairs.
    """
    candidates = {}
    for pair in pairs:
        one, other = pair
        in_both = cots[one].keys() & cots[other].keys()
        # An iterator keeps its place from one round to the next.
        candidates[pair] = iter(_shuffle(in_both, seed, "draw"))
    selection: dict[str, Pair] = {}
    while candidates and len(selection) < size:
        # A list, because pairs are removed on the way. The last round may be a part of one.
        places = size - len(selection)
        for pair in list(candidates)[:places]:
            # Prompts that another pair has chosen are skipped.
            for prompt_id in candidates[pair]:
                if prompt_id not in selection:
                    selection[prompt_id] = pair
                    break
            else:
                del candidates[pair]
    order = _shuffle(selection, seed, "order")
    return {prompt_id: selection[prompt_id] for prompt_id in order}


def _shuffle(prompt_ids: Iterable[str], seed: int, what: str) -> list[str]:
    return sorted(
        prompt_ids, key=lambda prompt_id: (hash_rank(seed, what, prompt_id), prompt_id)
    )


def _review_id(items: Sequence[Item]) -> str:
    text = "\n".join(item.model_dump_json() for item in items)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"review-{digest}"
