import pytest

from aidsafe_dagster.sources.duplicates import prompt_id, shingles


@pytest.mark.parametrize(
    "same", ["hello  world", "HELLO WORLD", " Hello\nworld\t", "Ｈｅｌｌｏ world"]
)
def test_case_width_and_white_space_do_not_make_another_prompt(same: str) -> None:
    assert prompt_id(same) == prompt_id("Hello world")
    assert prompt_id("Hello, world") != prompt_id("Hello world")
    assert len(prompt_id(same)) == 16


def test_punctuation_at_word_ends_does_not_count_but_operators_do() -> None:
    assert shingles("Hello, (my) world!") == shingles("hello my world")
    assert shingles("Solve 10x + 5 = 10") != shingles("Solve 10x - 5 = 10")


def test_a_prompt_of_one_or_two_words_is_its_words() -> None:
    assert shingles("Tell jokes") == {("tell",), ("jokes",)}
    assert shingles("😀") == {("😀",)}
