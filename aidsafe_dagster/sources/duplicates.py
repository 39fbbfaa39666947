"""Exact and near duplicates, within a source, across sources and against everything ingested before.

MinHash with LSH (datasketch) only proposes candidates, tuned for recall; the exact Jaccard similarity of the shingle
sets decides. So nothing is dropped by a chance collision. The first of two duplicates stays.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from datasketch import MinHash, MinHashLSH

from aidsafe_dagster.recipe.records import Prompt

_SHINGLE_WORDS = 3
_PERMUTATIONS = 128
# Verification is cheap and a missed duplicate stays for good, so LSH has to propose nearly all of them.
_RECALL = 0.999
# At the ends of a word only: stripped everywhere, '10x + 5' and '10x - 5' would be the same task.
_PUNCTUATION = ".,;:!?\"'()[]{}“”‘’…"

Shingles = frozenset[tuple[str, ...]]


def normalise(text: str) -> str:
    """NFKC, case folded, runs of white space as one space, none at the ends."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def prompt_id(text: str) -> str:
    """16 hex digits: 64 bits of BLAKE2b over the normalised text, so that equal means an exact duplicate."""
    return hashlib.blake2b(normalise(text).encode(), digest_size=8).hexdigest()


def shingles(text: str) -> Shingles:
    """The set of word 3-shingles of the normalised text; its single words when it has fewer than three."""
    words = [word.strip(_PUNCTUATION) or word for word in normalise(text).split()]
    size = _SHINGLE_WORDS if len(words) >= _SHINGLE_WORDS else 1
    return frozenset(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def jaccard(a: Shingles, b: Shingles) -> float:
    """Similarity from 0 to 1; 1 for two empty sets."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def _bands_and_rows(threshold: float) -> tuple[int, int]:
    """The narrowest LSH that still proposes 999 in 1,000 pairs whose similarity is just the threshold."""
    for rows in range(_PERMUTATIONS // 2, 1, -1):
        bands = _PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _PERMUTATIONS, 1


@dataclass(frozen=True)
class Duplicate:
    of: Prompt
    similarity: float | None
    """Jaccard, 0 to 1; None for an exact duplicate."""


class DuplicateIndex:
    """The prompts kept so far."""

    def __init__(self, threshold: float) -> None:
        """Takes the Jaccard similarity, 0 to 1, from which a prompt counts as a near duplicate."""
        self._threshold = threshold
        self._by_id: dict[str, Prompt] = {}
        self._kept: list[tuple[Prompt, Shingles]] = []
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands_and_rows(threshold))
        self._empty = MinHash(num_perm=_PERMUTATIONS)

    def add(self, prompt: Prompt) -> Duplicate | None:
        """Keeps the prompt unless it duplicates one kept before; then tells which."""
        if exact := self._by_id.get(prompt.prompt_id):
            return Duplicate(exact, None)
        parts = shingles(prompt.prompt)
        sketch = self._sketch(parts)
        if near := self._nearest(parts, sketch):
            return near
        self._keep(prompt, parts, sketch)
        return None

    def add_known(self, prompt: Prompt) -> None:
        """Keeps a prompt ingested earlier, whatever it resembles: what has a batch is never judged again."""
        if prompt.prompt_id not in self._by_id:
            parts = shingles(prompt.prompt)
            self._keep(prompt, parts, self._sketch(parts))

    def _keep(self, prompt: Prompt, parts: Shingles, sketch: MinHash) -> None:
        self._by_id[prompt.prompt_id] = prompt
        self._lsh.insert(len(self._kept), sketch)
        self._kept.append((prompt, parts))

    def _sketch(self, parts: Shingles) -> MinHash:
        sketch = self._empty.copy()
        sketch.update_batch([" ".join(part).encode() for part in parts])
        return sketch

    def _nearest(self, parts: Shingles, sketch: MinHash) -> Duplicate | None:
        """The most similar prompt over the threshold; of equals the one kept first."""
        found = [(jaccard(parts, self._kept[place][1]), -place) for place in self._lsh.query(sketch)]
        similarity, place = max(found, default=(0.0, 0))
        return Duplicate(self._kept[-place][0], similarity) if found and similarity >= self._threshold else None
