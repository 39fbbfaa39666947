"""Decide which new prompts are admitted, and to which cluster of similar prompts.

A near duplicate of an earlier prompt is dropped. Any other prompt joins the cluster of the most
similar earlier prompt, or starts a cluster of its own. Further clusters nearby are recorded with
it. Earlier prompts never change, so a cluster, and with it a split, is permanent: of two similar
prompts, the later one knows the clusters of both. Similarity is the Jaccard similarity of word
3-shingles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.recipe.fine_tune_splits import cluster_of
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.duplicates import shingles
from aidsafe_dagster.sources.similarity import Pair, jaccard_pairs


@dataclass(frozen=True)
class Duplicate:
    original: Prompt
    similarity: float | None
    """Jaccard, 0 to 1; None for an exact duplicate."""


@dataclass(frozen=True)
class Thresholds:
    """Minimum Jaccard similarities, above 0 and up to 1."""

    near_duplicate: float
    """From here on, the later prompt is dropped."""
    cluster: float
    """From here on, the two prompts are in the same cluster."""


Admission = Prompt | Duplicate
"""An admitted prompt with its cluster, or what a dropped prompt duplicates."""


def admit(
    known: Sequence[Prompt], new: Sequence[Prompt], thresholds: Thresholds
) -> list[Admission]:
    """Decide about each new prompt, in their order.

    Args:
        known: prompts admitted earlier, in their order; they stay whatever they resemble.
    """
    earlier_by_id = {prompt.prompt_id: prompt for prompt in known}
    earlier = list(earlier_by_id.values())
    candidates = _new_texts(earlier, new)
    prompts = [*earlier, *candidates]
    # One search serves both decisions; `_decide` applies each threshold by itself.
    threshold = min(thresholds.near_duplicate, thresholds.cluster)
    pairs = _similar_earlier_prompts(prompts, len(earlier), threshold)
    # In order: what becomes of a prompt depends on what became of those before it.
    decisions = list[Admission](earlier)
    for index, prompt in enumerate(candidates, start=len(earlier)):
        neighbours = list[tuple[float, Prompt]]()
        for pair in pairs.get(index, ()):
            neighbour = decisions[pair.right]
            # A prompt that was dropped itself is no original.
            if isinstance(neighbour, Prompt):
                neighbours.append((pair.similarity, neighbour))
        decisions.append(_decide(prompt, neighbours, thresholds))
    by_id = {}
    for prompt, decision in zip(prompts, decisions, strict=True):
        by_id[prompt.prompt_id] = decision
    return _decide_repeats(new, by_id, set(earlier_by_id))


def _new_texts(earlier: Sequence[Prompt], new: Sequence[Prompt]) -> list[Prompt]:
    """Return the first prompt of each text that no earlier prompt has."""
    ids = {prompt.prompt_id for prompt in earlier}
    first = []
    for prompt in new:
        if prompt.prompt_id not in ids:
            ids.add(prompt.prompt_id)
            first.append(prompt)
    return first


def _similar_earlier_prompts(
    prompts: Sequence[Prompt], start: int, threshold: float
) -> Mapping[int, list[Pair]]:
    """Find for each prompt from index `start` on the similar prompts before it.

    The most similar comes first; of equally similar ones, the earliest.
    """
    # Generators: only the hashes of shingles are kept, and not the shingles.
    new = (shingles(prompt.prompt) for prompt in prompts[start:])
    all_prompts = (shingles(prompt.prompt) for prompt in prompts)
    similar: dict[int, list[Pair]] = {}
    for offset, earlier, similarity in jaccard_pairs(new, all_prompts, threshold):
        later = start + offset
        # Each pair comes from both sides, and each prompt is paired with itself.
        if earlier < later:
            similar.setdefault(later, []).append(Pair(later, earlier, similarity))
    for pairs in similar.values():
        pairs.sort(key=_rank)
    return similar


def _rank(pair: Pair) -> tuple[float, int]:
    return -pair.similarity, pair.right


def _decide(
    prompt: Prompt, neighbours: Sequence[tuple[float, Prompt]], thresholds: Thresholds
) -> Admission:
    if neighbours:
        similarity, nearest = neighbours[0]
        if similarity >= thresholds.near_duplicate:
            return Duplicate(nearest, similarity)
    clusters = list[str]()
    for similarity, neighbour in neighbours:
        cluster = cluster_of(neighbour)
        if similarity >= thresholds.cluster and cluster not in clusters:
            clusters.append(cluster)
    # The nearest cluster comes first.
    own, *others = clusters or [prompt.prompt_id]
    return prompt.model_copy(update={"cluster": own, "near_clusters": tuple(others)})


def _decide_repeats(
    new: Sequence[Prompt], by_id: Mapping[str, Admission], admitted: set[str]
) -> list[Admission]:
    """Make a repeated text a duplicate of its first prompt, or of what that one duplicates."""
    decisions = list[Admission]()
    for prompt in new:
        decision = by_id[prompt.prompt_id]
        if isinstance(decision, Prompt) and prompt.prompt_id in admitted:
            decision = Duplicate(decision, None)
        decisions.append(decision)
        admitted.add(prompt.prompt_id)
    return decisions
