"""What prompts mean: which mean the same, and which are neighbours.

With an embedding model, meanings are its vectors. Without one they are words: TF-IDF weights tell
which prompts are the same, and latent semantic analysis (LSA), which also brings words together
that occur in the same prompts, tells neighbours. Nothing is downloaded for it.

Neighbourhoods are clusters of bisecting k-means. Rows taken from different ones spread over
everything that was asked, densely where much was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from aidsafe_dagster.sources.overlap import distinctive_words
from aidsafe_dagster.sources.similarity import Words
from aidsafe_dagster.sources.wording import normalised_words

_DIMENSIONS = 128
"""Of LSA; Deerwester and others (1990) found about 100 to do."""
WORDS = "words (TF-IDF; no embedding model is set)"


@dataclass(frozen=True)
class ByWords:
    """Meanings by the words of the prompts alone."""

    weights: Any
    """TF-IDF, a sparse matrix with rows of length 1."""
    vectors: NDArray[Any]
    """LSA, of length 1: neighbours have similar ones."""
    threshold: float
    """Cosine of the weights from which on two prompts count as the same."""
    name: str = WORDS

    def similarities(self, row: int) -> NDArray[Any]:
        """Return the cosine of one prompt with each."""
        product = self.weights @ self.weights[[row]].T
        dense: NDArray[Any] = product.toarray().ravel()
        return dense


@dataclass(frozen=True)
class ByEmbeddings:
    """Meanings by a model's embeddings."""

    vectors: NDArray[Any]
    """Of length 1."""
    threshold: float
    """Cosine from which on two prompts count as the same."""
    name: str

    def similarities(self, row: int) -> NDArray[Any]:
        """Return the cosine of one prompt with each."""
        product: NDArray[Any] = self.vectors @ self.vectors[row]
        return product


Meaning = ByWords | ByEmbeddings


def meaning_by_words(prompts: Sequence[str], threshold: float, seed: int) -> ByWords:
    """Compare prompts by their words; of Chinese and Japanese, by their characters."""
    # Importing scikit-learn takes a second.
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415

    vectorizer = TfidfVectorizer(
        analyzer=_telling_words, sublinear_tf=True, dtype=np.float32
    )
    with threadpool_limits(1):
        try:
            weights = vectorizer.fit_transform(prompts)
        except ValueError:
            # No prompt has a word. Each is then like no other.
            size = len(prompts)
            zeros = np.zeros((size, 1), dtype=np.float32)
            return ByWords(_sparse(zeros), zeros, threshold)
        return ByWords(weights, _latent(weights, seed), threshold)


def meaning_by_embeddings(
    vectors: NDArray[Any], threshold: float, model: str
) -> ByEmbeddings:
    """Compare prompts by the vectors that a model gave them."""
    unit = _unit(vectors.astype(np.float32))
    return ByEmbeddings(unit, threshold, f"embeddings of {model}")


def neighbourhoods(
    meaning: Meaning, eligible: NDArray[Any], count: int, seed: int
) -> NDArray[Any]:
    """Return the number of the neighbourhood of every prompt.

    Args:
        meaning: of all prompts.
        eligible: indices of those that the neighbourhoods are made of; the others join the nearest.
        count: how many neighbourhoods there are to be; fewer where fewer meanings differ.
        seed: of the first centres.
    """
    from sklearn.cluster import BisectingKMeans  # noqa: PLC0415 - see above
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

    vectors = meaning.vectors
    places = np.zeros(len(vectors), dtype=np.int64)
    if not len(eligible):
        return places
    own = vectors[eligible]
    # A cluster of equal vectors cannot be bisected.
    distinct = len(np.unique(own.round(5), axis=0))
    count = min(count, distinct)
    if count < 2:
        return places
    clustering = BisectingKMeans(count, random_state=seed, n_init=1)
    # Threads add in any order, and the last bit of a sum would decide which row is chosen.
    with threadpool_limits(1), catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        clustering.fit(own)
        places[:] = clustering.predict(vectors)
        places[eligible] = clustering.labels_
    return places


def _telling_words(prompt: str) -> Words:
    words = normalised_words(prompt)
    # "What is it about?" has none but common words, and they are then what it says.
    return distinctive_words(words) or words


def _latent(weights: Any, seed: int) -> NDArray[Any]:
    """Return vectors of few dimensions, in which words that go together are alike."""
    from sklearn.decomposition import TruncatedSVD  # noqa: PLC0415 - see above

    dimensions = min(_DIMENSIONS, *(size - 1 for size in weights.shape))
    if dimensions < 2:
        return _unit(weights.toarray())
    # A matrix of lower rank makes it divide by a variance of 0, which nobody reads.
    with np.errstate(invalid="ignore", divide="ignore"):
        latent = TruncatedSVD(dimensions, random_state=seed).fit_transform(weights)
    return _unit(latent.astype(np.float32))


def _sparse(dense: NDArray[Any]) -> Any:
    from scipy.sparse import csr_array  # noqa: PLC0415 - see above

    return csr_array(dense)


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[Any] = vectors / np.where(lengths > 0, lengths, 1.0)
    return unit
