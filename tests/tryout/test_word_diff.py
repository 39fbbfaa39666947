"""Two texts word by word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidsafe_dagster.tryout.word_diff import diff_words


def marked(before: str, after: str) -> str:
    marks = {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}
    pieces = diff_words(before, after)
    return " ".join(marks[one.kind].format(one.text.strip()) for one in pieces)


def test_changed_words_stand_between_those_that_stayed() -> None:
    before = "Explain how a lock works and where to ask for help."
    after = "Explain how a safe works and where to ask for help."
    assert marked(before, after) == (
        "Explain how a [-lock-] {+safe+} works and where to ask for help."
    )


def test_a_word_or_two_between_two_changes_do_not_tear_them_apart() -> None:
    assert marked("one two three four five", "1 two 3 four five") == (
        "[-one two three-] {+1 two 3+} four five"
    )


def test_other_line_breaks_are_no_change() -> None:
    assert {one.kind for one in diff_words("a b\nc", "a\nb c")} == {"same"}


def test_a_script_without_spaces_is_compared_sign_by_sign() -> None:
    assert marked("我今天不能告诉你怎么做", "我今天不能教会你怎么做") == (
        "我今天不能 [-告诉-] {+教会+} 你怎么做"
    )


@pytest.mark.parametrize(("before", "after"), [("", "new"), ("old", ""), ("", "")])
def test_a_side_may_be_empty(before: str, after: str) -> None:
    assert [one.text for one in diff_words(before, after)] == [
        text for text in (before, after) if text
    ]


_TEXTS = st.text(alphabet=st.sampled_from("ab c\n我"), max_size=30)


@given(_TEXTS, _TEXTS)
def test_without_what_was_added_the_words_are_those_of_before_and_the_other_way_round(
    before: str, after: str
) -> None:
    pieces = diff_words(before, after)
    old = "".join(one.text for one in pieces if one.kind != "added")
    new = "".join(one.text for one in pieces if one.kind != "removed")
    assert "".join(old.split()) == "".join(before.split())
    assert new == after
