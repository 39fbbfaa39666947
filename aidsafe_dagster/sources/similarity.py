"""Similarity of all pairs of two lists of texts at once, as products of sparse matrices.

Exact: no pair is missed and none is there by chance, as with MinHash, whose estimate this is. 50,000 prompts against
each other take seconds, since only pairs that share something cost anything.
"""

from array import array
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Shingles = frozenset[tuple[str, ...]]
Words = tuple[str, ...]
_ROWS_AT_A_TIME = 256


class Pair(NamedTuple):
    left: int
    right: int
    similarity: float
    """0 to 1."""


def jaccard_pairs(
    left: Iterable[Shingles], right: Iterable[Shingles], threshold: float
) -> Iterator[Pair]:
    """Pairs whose Jaccard similarity is at least `threshold` (above 0), by `left`."""
    ours, theirs = _counts(left, right)
    if not ours.nnz or not theirs.nnz:
        return
    our_sizes, their_sizes = np.diff(ours.indptr), np.diff(theirs.indptr)
    for rows, columns, shared in _products(ours, theirs):
        similarity = shared / (our_sizes[rows] + their_sizes[columns] - shared)
        yield from _above(rows, columns, similarity, threshold)


def tfidf_pairs(
    left: Sequence[Words], right: Sequence[Words], background: Sequence[Words], threshold: float
) -> Iterator[Pair]:
    """Pairs whose bags of words have a TF-IDF cosine of at least `threshold` (above 0), by `left`.

    How rare a word is follows from `right` and `background` alone, so a text's similarity does not depend on the texts
    beside it. A word that neither has counts as the rarest.
    """
    from scipy.sparse import vstack  # noqa: PLC0415
    from sklearn.feature_extraction.text import TfidfTransformer  # noqa: PLC0415 - a second to import

    if not any(left) or not any(right):
        return
    ours, theirs, others = _counts(left, right, background)
    weights = TfidfTransformer().fit(vstack([theirs, others]))
    ours, theirs = weights.transform(ours), weights.transform(theirs)
    for rows, columns, similarity in _products(ours, theirs):
        yield from _above(rows, columns, similarity, threshold)


def cosine_pairs(left: NDArray[Any], right: NDArray[Any], threshold: float) -> Iterator[Pair]:
    """Pairs of vectors, of shape (texts, dimensions), whose cosine is at least `threshold`, by `left`."""
    theirs = _unit(right).T
    for start in range(0, len(left), _ROWS_AT_A_TIME):
        similarity = _unit(left[start : start + _ROWS_AT_A_TIME]) @ theirs
        rows, columns = np.nonzero(similarity >= threshold)
        yield from _above(rows + start, columns, similarity[rows, columns], threshold)


def _counts(*lists: Iterable[Collection[Hashable]]) -> list[Any]:
    """A sparse matrix per list: a row per text, a column per word or shingle, how often it occurs.

    Of each word or shingle only its 64-bit hash is kept, so a long list costs no more memory than its numbers.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - needed only here

    hashed = [_hashed(texts) for texts in lists]
    names, columns = np.unique(
        np.concatenate([hashes for hashes, _ in hashed]), return_inverse=True
    )
    matrices, start = [], 0
    for hashes, ends in hashed:
        indices = columns[start : start + len(hashes)].astype(np.int32)
        matrix = csr_array(
            (np.ones(len(indices)), indices, ends), shape=(len(ends) - 1, len(names))
        )
        matrix.sum_duplicates()
        matrices.append(matrix)
        start += len(hashes)
    return matrices


def _hashed(texts: Iterable[Collection[Hashable]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The hashes of all parts of all texts, one after another, and where each text begins and ends."""
    hashes, ends = array("q"), array("q", [0])
    for text in texts:
        hashes.extend(map(hash, text))
        ends.append(len(hashes))
    return np.array(hashes, dtype=np.int64), np.array(ends, dtype=np.int32)


def _products(left: Any, right: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Rows, columns and values of left · rightᵀ where not 0, a block of rows at a time."""
    columns = right.T.tocsr()
    for start in range(0, left.shape[0], _ROWS_AT_A_TIME):
        block = (left[start : start + _ROWS_AT_A_TIME] @ columns).tocoo()
        yield block.row + start, block.col, block.data


def _above(
    rows: NDArray[Any], columns: NDArray[Any], similarity: NDArray[Any], threshold: float
) -> Iterator[Pair]:
    chosen = similarity >= threshold
    yield from map(
        Pair, rows[chosen].tolist(), columns[chosen].tolist(), similarity[chosen].tolist()
    )


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
