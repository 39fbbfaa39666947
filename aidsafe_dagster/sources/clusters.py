"""Which new prompts are taken in, and into which cluster of similar prompts.

A near duplicate of an earlier prompt is dropped. Any other joins the cluster of the earlier prompt most similar to it,
or begins one of its own; further clusters that it is near to are written down beside it. Earlier prompts never change,
so a cluster, and with it a split, is settled once and for all: of two prompts that are near, the later one knows the
clusters of both. Similarity is the Jaccard similarity of word 3-shingles.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aidsafe_dagster.recipe.fine_tune_splits import cluster_of
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.duplicates import shingles
from aidsafe_dagster.sources.similarity import Pair, jaccard_pairs


@dataclass(frozen=True)
class Duplicate:
    of: Prompt
    similarity: float | None
    """Jaccard, 0 to 1; None for an exact duplicate."""


@dataclass(frozen=True)
class Thresholds:
    """The least Jaccard similarity, above 0 and up to 1, at which the later of two prompts is …"""

    near_duplicate: float
    """… dropped."""
    cluster: float
    """… in the same cluster."""


Admission = Prompt | Duplicate
"""A prompt that is taken in, with its cluster; or what it duplicates."""


def admit(
    known: Sequence[Prompt], new: Sequence[Prompt], thresholds: Thresholds
) -> list[Admission]:
    """What becomes of each new prompt, in their order.

    `known` are the prompts taken in earlier, in their order; they are kept whatever they resemble.
    """
    earlier = list({prompt.prompt_id: prompt for prompt in known}.values())
    prompts = [*earlier, *_new_texts(earlier, new)]
    near = _near_before(prompts, len(earlier), min(thresholds.near_duplicate, thresholds.cluster))
    outcomes: list[Admission] = list(earlier)
    for place, prompt in enumerate(prompts[len(earlier) :], start=len(earlier)):
        kept = [
            (pair.similarity, of)
            for pair in near.get(place, ())
            if isinstance(of := outcomes[pair.right], Prompt)
        ]
        outcomes.append(_settled(prompt, kept, thresholds))
    by_id = {prompt.prompt_id: outcome for prompt, outcome in zip(prompts, outcomes, strict=True)}
    return list(_one_by_one(new, by_id, {prompt.prompt_id for prompt in earlier}))


def _new_texts(earlier: Sequence[Prompt], new: Sequence[Prompt]) -> list[Prompt]:
    """The first prompt of each text that is not among the earlier ones."""
    first = {prompt.prompt_id: prompt for prompt in reversed(new)}
    for prompt in earlier:
        first.pop(prompt.prompt_id, None)
    return [prompt for prompt in new if first.get(prompt.prompt_id) is prompt]


def _near_before(
    prompts: Sequence[Prompt], start: int, threshold: float
) -> Mapping[int, list[Pair]]:
    """For each place from `start` on, the earlier prompts near to it: most similar first, of equals the earliest."""
    near: dict[int, list[Pair]] = {}
    new, all_ = (
        map(shingles, (prompt.prompt for prompt in some)) for some in (prompts[start:], prompts)
    )
    for later, earlier, similarity in jaccard_pairs(new, all_, threshold):
        if earlier < later + start:
            near.setdefault(later + start, []).append(Pair(later + start, earlier, similarity))
    for pairs in near.values():
        pairs.sort(key=lambda pair: (-pair.similarity, pair.right))
    return near


def _settled(
    prompt: Prompt, near: Sequence[tuple[float, Prompt]], thresholds: Thresholds
) -> Admission:
    if near and near[0][0] >= thresholds.near_duplicate:
        return Duplicate(of=near[0][1], similarity=near[0][0])
    clusters = list(
        dict.fromkeys(
            cluster_of(other) for similarity, other in near if similarity >= thresholds.cluster
        )
    )
    clusters = clusters or [prompt.prompt_id]
    return prompt.model_copy(update={"cluster": clusters[0], "near_clusters": tuple(clusters[1:])})


def _one_by_one(
    new: Sequence[Prompt], by_id: Mapping[str, Admission], seen: set[str]
) -> Iterator[Admission]:
    """A text that comes again duplicates its first prompt, or what that one duplicates."""
    for prompt in new:
        outcome = by_id[prompt.prompt_id]
        yield (
            Duplicate(outcome, None)
            if isinstance(outcome, Prompt) and prompt.prompt_id in seen
            else outcome
        )
        seen.add(prompt.prompt_id)
