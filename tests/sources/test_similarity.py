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


def parts(text: str) -> Shingles:
    return frozenset((word,) for word in text.split())


def test_every_pair_at_or_above_the_threshold_is_found_and_no_other() -> None:
    choice = random.Random(7)
    texts = [
        frozenset((str(choice.randrange(12)),) for _ in range(choice.randint(1, 9)))
        for _ in range(600)
    ]
    expected = {
        (a, b): len(one & other) / len(one | other)
        for a, one in enumerate(texts)
        for b, other in enumerate(texts[:300])
        if len(one & other) / len(one | other) >= 0.5
    }
    found = {
        (pair.left, pair.right): pair.similarity for pair in jaccard_pairs(texts, texts[:300], 0.5)
    }
    assert len(expected) > 1000
    assert found == expected


def test_texts_without_parts_are_near_to_nothing() -> None:
    assert list(jaccard_pairs([frozenset()], [parts("a")], 0.1)) == []
    assert list(jaccard_pairs([parts("a"), frozenset()], [parts("a"), frozenset()], 0.1)) == [
        Pair(0, 0, 1.0)
    ]
    assert list(tfidf_pairs([()], [("a",)], [], 0.1)) == []


def test_the_order_of_words_does_not_matter_to_tfidf() -> None:
    (pair,) = tfidf_pairs(
        [("a", "python", "process", "kill")], [("kill", "a", "python", "process")], [], 0.5
    )
    assert pair.similarity == pytest.approx(1)


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    background = [("how", "to", word) for word in ("bake", "knit", "swim", "sing")]
    scores = {
        pair.left: pair.similarity
        for pair in tfidf_pairs(
            [("how", "to"), ("launder",)], [("how", "to", "launder")], background, 0.01
        )
    }
    assert scores[1] > scores[0]


def test_a_text_s_similarity_does_not_depend_on_the_texts_beside_it() -> None:
    text, other = ("how", "to", "launder", "dollars"), ("how", "to", "launder", "money")
    alone = next(iter(tfidf_pairs([text], [other], [("how",)], 0.1)))
    among = next(
        iter(tfidf_pairs([text, ("launder", "dollars"), ("dollars",)], [other], [("how",)], 0.1))
    )
    assert among.similarity == pytest.approx(alone.similarity)


def test_vectors_are_compared_by_their_direction() -> None:
    ours, theirs = (
        np.array([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]]),
        np.array([[1.0, 0.0], [0.0, 5.0]]),
    )
    found = [
        (pair.left, pair.right, round(pair.similarity, 3))
        for pair in cosine_pairs(ours, theirs, 0.7)
    ]
    assert found == [(0, 0, 1.0), (2, 0, 0.707), (2, 1, 0.707)]
