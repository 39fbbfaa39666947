"""Which items people rate: two chains of thought on one prompt, blinded and shuffled.

A prompt is in one item only: shown twice, the side that comes back would give itself away as the refined one. All is
decided by hashes of the seed, so the same rows and the same seed make the same review.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Record, Stage, Version

Pair = tuple[Version, Version]
PAIRS: tuple[Pair, ...] = (("refined", "single_llm"), ("refined", "deliberated"))
"""With and without deliberation; with and without the refiner."""
_STAGES: Mapping[Version, Stage] = {
    "single_llm": Stage.SINGLE_LLM_COTS,
    "deliberated": Stage.DELIBERATED_COTS,
    "refined": Stage.REFINED_COTS,
}
_COLUMNS = ["prompt_id", "batch", "prompt", "thoughts", "response", "simulated"]


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
    """What an item really is; never leaves the site."""

    item_id: str
    prompt_id: str
    batch: str
    left: Version
    right: Version
    simulated: bool


@dataclass(frozen=True)
class ReviewSample:
    review_id: str
    """'review-' and a hash of the items: letters first, so that no spreadsheet takes it for a number."""
    items: tuple[Item, ...]
    key: tuple[KeyRow, ...]

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


def parse_pair(text: str) -> Pair:
    """'refined,single_llm' as a pair of versions.

    Raises:
        SetupError: not two different versions.
    """
    versions: dict[str, Version] = {version: version for version in get_args(Version)}
    names = [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name not in versions]:
        raise unknown("version", wrong[0], versions, f"--of {text}")
    if len(set(names)) != 2:
        raise SetupError(f"--of {text}: two different versions, such as 'refined,single_llm'")
    return versions[names[0]], versions[names[1]]


def draw_sample(lake: Lake, size: int, pairs: Sequence[Pair], seed: int) -> ReviewSample:
    """At most `size` items, spread evenly over the pairs, from the batches of the whole lake.

    Raises:
        SetupError: no prompt has both versions of any of the pairs.
    """
    cots = {
        version: _cots(lake, version)
        for version in dict.fromkeys(v for pair in pairs for v in pair)
    }
    chosen = _chosen(cots, size, pairs, seed)
    if not chosen:
        wanted = " or ".join(f"{one} and {other}" for one, other in pairs)
        raise SetupError(
            f"{lake.root}: no prompt has both a {wanted} chain of thought; make a batch first"
        )
    items, key = [], []
    for number, (prompt_id, pair) in enumerate(chosen.items(), start=1):
        left, right = pair if _lot(seed, "side", prompt_id) % 2 else pair[::-1]
        one, other = cots[left][prompt_id], cots[right][prompt_id]
        item_id = f"item-{number:03}"
        items.append(Item(item_id=item_id, prompt=one.prompt, left=one.side, right=other.side))
        simulated = one.simulated or other.simulated
        key.append(
            KeyRow(
                item_id=item_id,
                prompt_id=prompt_id,
                batch=one.batch,
                left=left,
                right=right,
                simulated=simulated,
            )
        )
    return ReviewSample(_review_id(items), tuple(items), tuple(key))


def _cots(lake: Lake, version: Version) -> dict[str, _Cot]:
    rows = lake.all_rows(_STAGES[version], _COLUMNS)
    return (
        {} if rows is None else {row["prompt_id"]: _cot(row) for row in rows.iter_rows(named=True)}
    )


def _cot(row: Mapping[str, object]) -> _Cot:
    thoughts: Iterable[Mapping[str, str]] = row["thoughts"]  # type: ignore[assignment]
    side = Side(
        thoughts=tuple(thought["text"] for thought in thoughts), response=str(row["response"])
    )
    return _Cot(
        str(row["prompt_id"]), str(row["batch"]), str(row["prompt"]), side, bool(row["simulated"])
    )


def _chosen(
    cots: Mapping[Version, Mapping[str, _Cot]], size: int, pairs: Sequence[Pair], seed: int
) -> dict[str, Pair]:
    """Prompt → pair, in the order of the form: the pairs take turns to choose, then all is shuffled."""
    streams = {
        pair: iter(_shuffled(set(cots[pair[0]]) & set(cots[pair[1]]), seed, "draw"))
        for pair in pairs
    }
    chosen: dict[str, Pair] = {}
    while streams and len(chosen) < size:
        for pair in list(streams)[: size - len(chosen)]:
            prompt_id = next((one for one in streams[pair] if one not in chosen), None)
            if prompt_id is None:
                del streams[pair]
            else:
                chosen[prompt_id] = pair
    return {prompt_id: chosen[prompt_id] for prompt_id in _shuffled(chosen, seed, "order")}


def _shuffled(prompt_ids: Iterable[str], seed: int, what: str) -> list[str]:
    return sorted(prompt_ids, key=lambda prompt_id: (_lot(seed, what, prompt_id), prompt_id))


def _lot(seed: int, what: str, prompt_id: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(f"{seed}:{what}:{prompt_id}".encode(), digest_size=8).digest()
    )


def _review_id(items: Sequence[Item]) -> str:
    text = "\n".join(item.model_dump_json() for item in items)
    return f"review-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
