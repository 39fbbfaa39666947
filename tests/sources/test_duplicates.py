import pytest

from aidsafe_dagster.sources.duplicates import prompt_id, shingles


@pytest.mark.parametrize(
    "variant", ["hello  world", "HELLO WORLD", " Hello\nworld\t", "Ｈｅｌｌｏ world"]
)
def test_case_width_and_white_space_do_not_change_the_id(variant: str) -> None:
    assert prompt_id(variant) == prompt_id("Hello world")
    assert prompt_id("Hello, world") != prompt_id("Hello world")
    assert len(prompt_id(variant)) == 16


def test_shingles_ignore_punctuation_at_word_ends_but_not_operators() -> None:
    assert shingles("Hello, (my) world!") == shingles("hello my world")
    assert shingles("Solve 10x + 5 = 10") != shingles("Solve 10x - 5 = 10")


def test_the_shingles_of_one_or_two_words_are_the_words() -> None:
    assert shingles("Tell jokes") == {("tell",), ("jokes",)}
    assert shingles("😀") == {("😀",)}
