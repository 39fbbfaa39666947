"""Similarity of all pairs of two lists of texts, as products of sparse matrices.

The result is exact: MinHash estimates the same quantity, and misses pairs. Only pairs that share
something cost anything, so comparing 50,000 prompts with each other takes seconds.
"""

from array import array
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Shingles = frozenset[tuple[str, ...]]
Words = tuple[str, ...]
# Bounds the memory of a product: 256 rows against all columns at a time.
_BLOCK_ROWS = 256


class Pair(NamedTuple):
    left: int
    right: int
    similarity: float
    """0 to 1."""


def jaccard(one: Shingles, other: Shingles) -> float:
    """Return the Jaccard similarity of two texts, 0 to 1."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def jaccard_pairs(
    left: Iterable[Shingles], right: Iterable[Shingles], threshold: float
) -> Iterator[Pair]:
    """Yield the pairs whose Jaccard similarity is at least `threshold` (above 0), by `left`."""
    ours, theirs = _count_items(left, right)
    if not ours.nnz or not theirs.nnz:
        return
    # Shingles are sets, so each cell of a matrix is 1 and a row's size is its number of cells.
    our_sizes = np.diff(ours.indptr)
    their_sizes = np.diff(theirs.indptr)
    for rows, columns, shared in _products(ours, theirs):
        union = our_sizes[rows] + their_sizes[columns] - shared
        similarity = shared / union
        yield from _pairs_above(rows, columns, similarity, threshold)


def tfidf_pairs(
    left: Sequence[Words],
    right: Sequence[Words],
    background: Sequence[Words],
    threshold: float,
) -> Iterator[Pair]:
    """Yield the pairs whose bags of words have a TF-IDF cosine of at least `threshold`, by `left`.

    Word frequencies come from `right` and `background` alone, so the similarity of a text does not
    depend on the other texts of `left`. A word that neither contains counts as the rarest.
    """
    # Importing scikit-learn takes a second.
    from scipy.sparse import vstack  # noqa: PLC0415
    from sklearn.feature_extraction.text import TfidfTransformer  # noqa: PLC0415

    if not any(left) or not any(right):
        return
    ours, theirs, others = _count_items(left, right, background)
    weights = TfidfTransformer().fit(vstack([theirs, others]))
    ours, theirs = weights.transform(ours), weights.transform(theirs)
    # The transformer scales rows to length 1, so a product is a cosine.
    for rows, columns, similarity in _products(ours, theirs):
        yield from _pairs_above(rows, columns, similarity, threshold)


def cosine_pairs(
    left: NDArray[Any], right: NDArray[Any], threshold: float
) -> Iterator[Pair]:
    """Yield the pairs of vectors whose cosine is at least `threshold`, by `left`.

    Both arrays have the shape (texts, dimensions).
    """
    theirs = _unit_vectors(right).T
    for start in range(0, len(left), _BLOCK_ROWS):
        block = _unit_vectors(left[start : start + _BLOCK_ROWS])
        similarity = block @ theirs
        rows, columns = np.nonzero(similarity >= threshold)
        yield from _pairs_above(
            rows + start, columns, similarity[rows, columns], threshold
        )


def _count_items(*lists: Iterable[Collection[Hashable]]) -> list[Any]:
    """Count words or shingles: one sparse matrix per list, a row per text, a column per item.

    Only the 64-bit hash of each item is kept, which bounds the memory of long lists.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - needed only here

    # One vocabulary for all lists, so that a column means the same item in each matrix.
    hashed = [_hash_items(texts) for texts in lists]
    all_hashes = np.concatenate([hashes for hashes, _ in hashed])
    vocabulary, columns = np.unique(all_hashes, return_inverse=True)
    matrices, start = [], 0
    for hashes, ends in hashed:
        own_columns = columns[start : start + len(hashes)]
        indices = own_columns.astype(np.int32)
        ones = np.ones(len(indices))
        shape = (len(ends) - 1, len(vocabulary))
        matrix = csr_array((ones, indices, ends), shape=shape)
        matrix.sum_duplicates()
        matrices.append(matrix)
        start += len(hashes)
    return matrices


def _hash_items(
    texts: Iterable[Collection[Hashable]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the concatenated hashes of all texts, and the boundaries between the texts."""
    hashes, ends = array("q"), array("q", [0])
    # Python's `hash` differs between processes, which does not matter within one matrix.
    for text in texts:
        hashes.extend(map(hash, text))
        ends.append(len(hashes))
    boundaries = np.array(ends, dtype=np.int32)
    return np.array(hashes, dtype=np.int64), boundaries


def _products(
    left: Any, right: Any
) -> Iterator[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield rows, columns and values of the non-zero cells of left · rightᵀ, block by block."""
    columns = right.T.tocsr()
    for start in range(0, left.shape[0], _BLOCK_ROWS):
        block = left[start : start + _BLOCK_ROWS]
        product = (block @ columns).tocoo()
        yield product.row + start, product.col, product.data


def _pairs_above(
    rows: NDArray[Any],
    columns: NDArray[Any],
    similarity: NDArray[Any],
    threshold: float,
) -> Iterator[Pair]:
    mask = similarity >= threshold
    yield from map(
        Pair,
        rows[mask].tolist(),
        columns[mask].tolist(),
        similarity[mask].tolist(),
    )


def _unit_vectors(vectors: NDArray[Any]) -> NDArray[Any]:
    # A zero vector stays zero, and is similar to nothing.
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
