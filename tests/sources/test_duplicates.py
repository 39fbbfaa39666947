import random
import time

import pytest

from aidsafe_dagster.sources.duplicates import DuplicateIndex, jaccard, prompt_id, shingles
from tests.sources.builders import a_prompt

LONG = "How can I find out which of my old friends from university still live in this town"


@pytest.mark.parametrize("same", ["hello  world", "HELLO WORLD", " Hello\nworld\t", "Ｈｅｌｌｏ world"])
def test_case_width_and_white_space_do_not_make_another_prompt(same: str) -> None:
    assert prompt_id(same) == prompt_id("Hello world")
    assert prompt_id("Hello, world") != prompt_id("Hello world")
    assert len(prompt_id(same)) == 16


def test_an_exact_duplicate_names_the_first_one() -> None:
    index = DuplicateIndex(0.8)
    assert index.add(a_prompt("Hello world")) is None
    duplicate = index.add(a_prompt("hello  WORLD"))
    assert duplicate is not None
    assert (duplicate.of.prompt, duplicate.similarity) == ("Hello world", None)


def test_a_near_duplicate_is_judged_by_exact_jaccard() -> None:
    near, similarity = f"{LONG} today", 15 / 16
    assert jaccard(shingles(LONG), shingles(near)) == similarity
    for threshold, expected in [(similarity, similarity), (similarity + 0.001, None)]:
        index = DuplicateIndex(threshold)
        index.add(a_prompt(LONG))
        duplicate = index.add(a_prompt(near))
        assert (duplicate.similarity if duplicate else None) == expected


def test_of_several_near_duplicates_the_most_similar_is_named() -> None:
    index = DuplicateIndex(0.6)
    index.add_known(a_prompt(f"{LONG} or in the next one"))
    index.add_known(a_prompt(f"{LONG} or in"))
    duplicate = index.add(a_prompt(f"{LONG} or"))
    assert duplicate is not None
    assert duplicate.of.prompt == f"{LONG} or in"


def test_punctuation_at_word_ends_does_not_count_but_operators_do() -> None:
    assert shingles("Hello, (my) world!") == shingles("hello my world")
    assert shingles("Solve 10x + 5 = 10") != shingles("Solve 10x - 5 = 10")


def test_prompts_of_one_or_two_words_are_compared_by_words() -> None:
    index = DuplicateIndex(0.8)
    assert index.add(a_prompt("Tell jokes")) is None
    assert index.add(a_prompt("Tell stories")) is None
    assert index.add(a_prompt("😀")) is None
    assert index.add(a_prompt("tell jokes!")) is not None


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8, 1.0])
def test_every_allowed_threshold_finds_the_same_shingles_again(threshold: float) -> None:
    index = DuplicateIndex(threshold)
    assert index.add(a_prompt(LONG)) is None
    assert index.add(a_prompt(f"{LONG}?")) is not None


def test_ten_thousand_prompts_take_seconds_and_no_planted_near_duplicate_is_missed() -> None:
    choice = random.Random(7)
    words = [f"w{number}" for number in range(3000)]
    originals = [["how", "can", "i", "find", *choice.choices(words, k=36)] for _ in range(8000)]
    copies = [[*choice.choice(originals), "please"] for _ in range(2000)]
    index = DuplicateIndex(0.8)
    start = time.monotonic()
    dropped = [index.add(a_prompt(" ".join(text))) for text in originals + copies]
    assert time.monotonic() - start < 60
    assert [duplicate is not None for duplicate in dropped] == [False] * 8000 + [True] * 2000
