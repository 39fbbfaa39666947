"""Decide which new prompts are admitted, and to which cluster of similar prompts.

A near duplicate of an earlier prompt is dropped. Any other prompt joins the cluster of the most
similar earlier prompt, or starts a cluster of its own. Further clusters nearby are recorded with
it. Earlier prompts never change, so a cluster, and with it a split, is permanent: of two similar
prompts, the later one knows the clusters of both. Similarity is the Jaccard similarity of word
3-shingles.

Conversations are near duplicates if they are similar as a whole and in their last turns. One turn
of the user that is similar to one of another's, or to a prompt, puts them into one cluster.

A prompt that was made from another one, its parent, joins the parent's cluster however different
its words are, and is never a near duplicate of it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aidsafe_dagster.recipe.fine_tune_splits import cluster_of
from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.compared_turns import telling_turns
from aidsafe_dagster.sources.derivations import with_parent_texts
from aidsafe_dagster.sources.duplicates import normalise, shingles
from aidsafe_dagster.sources.similarity import Pair, jaccard, jaccard_pairs

_MOST_CONVERSATIONS = 5
"""With the same turn of the user, for it to make them alike."""


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


class _Neighbour(NamedTuple):
    prompt: Prompt
    similarity: float
    """Of what is most alike in the two, 0 to 1."""
    sameness: float
    """How nearly they are the same prompt, 0 to 1."""


@dataclass(frozen=True)
class Orphan:
    """A prompt that was made from one that is not in the lake."""

    parent: str
    """Its prompt id."""


Admission = Prompt | Duplicate | Orphan
"""An admitted prompt with its cluster, what a dropped prompt duplicates, or what it lacks."""


def admit(
    known: Sequence[Prompt], new: Sequence[Prompt], thresholds: Thresholds
) -> list[Admission]:
    """Decide about each new prompt, in their order.

    Args:
        known: prompts admitted earlier, in their order; they stay whatever they resemble.
    """
    earlier_by_id = {prompt.prompt_id: prompt for prompt in known}
    earlier = list(earlier_by_id.values())
    orphans = _find_orphans(earlier, new)
    with_parents = [row for row in new if id(row) not in orphans]
    candidates = _new_texts(earlier, with_parents)
    prompts = [*earlier, *candidates]
    # One search serves both decisions; `_decide` applies each threshold by itself.
    threshold = min(thresholds.near_duplicate, thresholds.cluster)
    pairs = _similar_earlier_prompts(prompts, len(earlier), threshold)
    # In order: what becomes of a prompt depends on what became of those before it.
    decisions = list[Admission](earlier)
    admitted_by_id = dict(earlier_by_id)
    for index, prompt in enumerate(candidates, start=len(earlier)):
        neighbours = list[_Neighbour]()
        for pair in pairs.get(index, ()):
            neighbour = decisions[pair.right]
            # A prompt that was dropped itself is no original.
            if isinstance(neighbour, Prompt):
                sameness = _sameness(prompt, neighbour, pair.similarity)
                neighbours.append(_Neighbour(neighbour, pair.similarity, sameness))
        decision = _decide_in_family(prompt, neighbours, thresholds, admitted_by_id)
        if isinstance(decision, Prompt):
            admitted_by_id[prompt.prompt_id] = decision
        decisions.append(decision)
    by_id = {}
    for prompt, decision in zip(prompts, decisions, strict=True):
        by_id[prompt.prompt_id] = decision
    decided = iter(_decide_repeats(with_parents, by_id, set(earlier_by_id)))
    return [orphans.get(id(prompt)) or next(decided) for prompt in new]


def similar_prompts(
    prompts: Sequence[Prompt], known: Sequence[Prompt], threshold: float
) -> list[list[Prompt]]:
    """Return for each prompt the known ones that are similar to it, the most similar first."""
    every = [*known, *prompts]
    pairs = _similar_earlier_prompts(every, len(known), threshold)
    similar = []
    for index in range(len(known), len(every)):
        near = [pair.right for pair in pairs.get(index, ())]
        similar.append([known[place] for place in near if place < len(known)])
    return similar


def _find_orphans(
    earlier: Sequence[Prompt], new: Sequence[Prompt]
) -> dict[int, Orphan]:
    """Return the rows, by identity, whose parent is nowhere before them.

    They are set apart at once, so that another row with the same text is judged by itself.
    """
    ids = {prompt.prompt_id for prompt in earlier}
    orphans: dict[int, Orphan] = {}
    for prompt in new:
        parent = prompt.derivation.parent if prompt.derivation else ""
        if parent and parent not in ids:
            orphans[id(prompt)] = Orphan(parent)
        else:
            ids.add(prompt.prompt_id)
    return orphans


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
    nearest: dict[int, dict[int, float]] = {}
    for later, earlier, similarity in _similar_texts(prompts, start, threshold):
        # Each pair comes from both sides, and each prompt is paired with itself.
        if earlier < later:
            others = nearest.setdefault(later, {})
            others[earlier] = max(similarity, others.get(earlier, 0.0))
    similar: dict[int, list[Pair]] = {}
    for later, others in nearest.items():
        pairs = [Pair(later, *other) for other in others.items()]
        similar[later] = sorted(pairs, key=_rank)
    return similar


def _similar_texts(
    prompts: Sequence[Prompt], start: int, threshold: float
) -> Iterator[Pair]:
    """Yield the pairs of prompts with similar texts, some of them more than once."""
    # Generators: only the hashes of shingles are kept, and not the shingles.
    new = (shingles(prompt.whole) for prompt in prompts[start:])
    all_prompts = (shingles(prompt.whole) for prompt in prompts)
    for pair in jaccard_pairs(new, all_prompts, threshold):
        yield pair._replace(left=start + pair.left)
    if not any(prompt.earlier for prompt in prompts):
        return
    owners, texts = list[int](), list[str]()
    for index, text in _asked(prompts):
        owners.append(index)
        texts.append(text)
    begin = bisect_left(owners, start)
    new = (shingles(text) for text in texts[begin:])
    all_prompts = (shingles(text) for text in texts)
    for left, right, similarity in jaccard_pairs(new, all_prompts, threshold):
        yield Pair(owners[begin + left], owners[right], similarity)


def _asked(prompts: Sequence[Prompt]) -> Iterator[tuple[int, str]]:
    """Yield what the user wants in each prompt, with the index of the prompt.

    What many say in the course of their conversations means little: "Thank you, please go on."
    """
    turns = list[list[str]]()
    for prompt in prompts:
        is_talk = bool(prompt.earlier)
        turns.append(telling_turns(prompt.prompt_turns) if is_talk else [prompt.prompt])
    counts = Counter(text for texts in turns for text in set(map(normalise, texts)))
    for index, texts in enumerate(turns):
        for text in texts:
            is_common = counts[normalise(text)] > _MOST_CONVERSATIONS
            if not (is_common and prompts[index].earlier):
                yield index, text


def _sameness(prompt: Prompt, other: Prompt, similarity: float) -> float:
    """Return how nearly one prompt is the other, 0 to 1."""
    if not prompt.earlier and not other.earlier:
        return similarity
    last = jaccard(shingles(prompt.prompt), shingles(other.prompt))
    return min(jaccard(shingles(prompt.whole), shingles(other.whole)), last)


def _rank(pair: Pair) -> tuple[float, int]:
    return -pair.similarity, pair.right


def _decide_in_family(
    prompt: Prompt,
    neighbours: Sequence[_Neighbour],
    thresholds: Thresholds,
    admitted: Mapping[str, Prompt],
) -> Admission:
    """Decide about a prompt; one that was made from another one has its parent's clusters."""
    derivation = prompt.derivation
    if derivation is None or not derivation.parent:
        return _decide(prompt, neighbours, thresholds, ())
    parent = admitted.get(derivation.parent)
    if parent is None:
        return Orphan(derivation.parent)
    # What two wrappers of one kind share says nothing of the prompts inside.
    others = [one for one in neighbours if not _are_wrappers(prompt, one.prompt)]
    complete = with_parent_texts(derivation, parent)
    return _decide(
        prompt.model_copy(update={"derivation": complete}),
        others,
        thresholds,
        (cluster_of(parent), *parent.near_clusters),
    )


def _are_wrappers(prompt: Prompt, other: Prompt) -> bool:
    methods = set()
    for one in (prompt, other):
        methods.add(one.derivation.method if one.derivation else "")
    return methods == {"wrapper"}


def _is_meant_to_be_near(prompt: Prompt, other: Prompt) -> bool:
    """Tell whether a prompt was made from the other, or both in different ways from the same."""
    derivation = prompt.derivation
    if derivation is None or not derivation.parent:
        return False
    if other.prompt_id == derivation.parent:
        return True
    sibling = other.derivation
    if sibling is None or sibling.parent != derivation.parent:
        return False
    return sibling.method != derivation.method


def _decide(
    prompt: Prompt,
    neighbours: Sequence[_Neighbour],
    thresholds: Thresholds,
    inherited: Sequence[str],
) -> Admission:
    """Decide about a prompt that may have clusters already, its own first."""
    for neighbour in neighbours:
        if _is_meant_to_be_near(prompt, neighbour.prompt):
            continue
        if neighbour.sameness >= thresholds.near_duplicate:
            return Duplicate(neighbour.prompt, neighbour.sameness)
    clusters = list(dict.fromkeys(inherited))
    for neighbour in neighbours:
        cluster = cluster_of(neighbour.prompt)
        if neighbour.similarity >= thresholds.cluster and cluster not in clusters:
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
