import random

import numpy as np
import pytest

from aidsafe_dagster.sources.similarity import (
    Pair,
    Shingles,
    cosine_pairs,
    jaccard_pairs,
    tfidf_pairs,
)


def single_words(text: str) -> Shingles:
    return frozenset((word,) for word in text.split())


def test_exactly_the_pairs_at_or_above_the_threshold_are_found() -> None:
    generator = random.Random(7)
    texts = list[Shingles]()
    for _ in range(600):
        size = generator.randint(1, 9)
        texts.append(frozenset((str(generator.randrange(12)),) for _ in range(size)))
    expected = {}
    for left, one in enumerate(texts):
        for right, other in enumerate(texts[:300]):
            similarity = len(one & other) / len(one | other)
            if similarity >= 0.5:
                expected[left, right] = similarity
    pairs = jaccard_pairs(texts, texts[:300], 0.5)
    assert len(expected) > 1000
    assert {(pair.left, pair.right): pair.similarity for pair in pairs} == expected


def test_empty_texts_are_similar_to_nothing() -> None:
    assert list(jaccard_pairs([frozenset()], [single_words("a")], 0.1)) == []
    assert list(
        jaccard_pairs(
            [single_words("a"), frozenset()], [single_words("a"), frozenset()], 0.1
        )
    ) == [Pair(0, 0, 1.0)]
    assert list(tfidf_pairs([()], [("a",)], [], 0.1)) == []


def test_tfidf_ignores_the_order_of_words() -> None:
    (pair,) = tfidf_pairs(
        [("a", "python", "process", "kill")],
        [("kill", "a", "python", "process")],
        [],
        0.5,
    )
    assert pair.similarity == pytest.approx(1)


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    background = [("how", "to", word) for word in ("bake", "knit", "swim", "sing")]
    texts = [("how", "to"), ("launder",)]
    pairs = tfidf_pairs(texts, [("how", "to", "launder")], background, 0.01)
    scores = {pair.left: pair.similarity for pair in pairs}
    assert scores[1] > scores[0]


def test_the_similarity_of_a_text_does_not_depend_on_the_other_texts() -> None:
    text, other = ("how", "to", "launder", "dollars"), ("how", "to", "launder", "money")
    others = [("launder", "dollars"), ("dollars",)]
    alone = next(tfidf_pairs([text], [other], [("how",)], 0.1))
    among = next(tfidf_pairs([text, *others], [other], [("how",)], 0.1))
    assert among.similarity == pytest.approx(alone.similarity)


def test_cosine_compares_the_directions_of_vectors() -> None:
    left = np.array([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    right = np.array([[1.0, 0.0], [0.0, 5.0]])
    pairs = [
        (pair.left, pair.right, round(pair.similarity, 3))
        for pair in cosine_pairs(left, right, 0.7)
    ]
    assert pairs == [(0, 0, 1.0), (2, 0, 0.707), (2, 1, 0.707)]
