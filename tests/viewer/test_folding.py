"""What counts as the same text to a search, in any script."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aidsafe_dagster.viewer.folding import (
    Passage,
    excerpt,
    fold,
    folded,
    passages,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Le CAFÉ est fermé", "cafe"),
        ("cafe\u0301", "café"),
        ("الاحْتِيَالُ عَلَى النَّاسِ", "الاحتيال على الناس"),
        ("الاحتيال", "الاحْتِيَال"),
        ("عـــربي", "عربي"),
        ("أحمد", "احمد"),
        ("如何防止电信诈骗？", "诈骗"),
        ("ＡＢＣ１２３", "abc123"),
        ("ｶﾞｽ", "ガス"),
        ("한국어", "\u1112\u1161\u11ab국어"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        ("İstanbul", "istanbul"),
        ("Schloß", "schloss"),
        ("Schloss", "Schloß"),
        ("Łódź", "lodz"),
        ("Ærø", "aero"),
        ("don’t “do” it", 'don\'t "do"'),
        ("in\u00adter\u200bnet", "internet"),
        ("one\n\n  two\tthree", "one two three"),
        ("שָׁלוֹם", "שלום"),
        ("हिन्दी में", "हिन्दी"),
    ],
)
def test_a_text_is_found_as_a_person_types_it(text: str, query: str) -> None:
    assert fold(query) in fold(text)


@pytest.mark.parametrize(
    ("text", "query"), [("がくせい", "かくせい"), ("कि", "कु"), ("각", "가"), ("ต้", "ต")]
)
def test_marks_that_change_a_letter_count(text: str, query: str) -> None:
    assert fold(text) != fold(query)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_a_column_is_folded_like_each_of_its_texts(texts: list[str]) -> None:
    storable = [text.encode("utf-8", "replace").decode() for text in texts]
    assert folded(pl.Series(storable)).to_list() == [fold(text) for text in storable]


@settings(max_examples=500, deadline=None)
@given(st.text(), st.text(min_size=1, max_size=3))
def test_passages_are_the_text_again(text: str, query: str) -> None:
    pieces = passages(text, words_of(query))
    assert "".join(piece.text for piece in pieces) == text


def test_a_match_is_marked_with_its_vowel_signs() -> None:
    assert passages("قال الاحْتِيَال كثير", words_of("الاحتيال")) == [
        Passage("قال ", is_match=False),
        Passage("الاحْتِيَال", is_match=True),
        Passage(" كثير", is_match=False),
    ]


def test_words_are_each_searched_for_and_quotes_keep_a_phrase_together() -> None:
    assert words_of('  Lock “pin tumbler"  LOCK ') == ("lock", "pin tumbler")
    assert words_of("\u200b ") == ()


def test_an_excerpt_is_cut_around_the_match() -> None:
    text = "x" * 500 + " Locksmith " + "y" * 500
    pieces = excerpt(text, words_of("locksmith"), 60)
    assert [piece.text for piece in pieces if piece.is_match] == ["Locksmith"]
    assert pieces[0].text == pieces[-1].text == "…"
    assert sum(len(piece.text) for piece in pieces) == 62


def test_a_text_of_any_length_has_an_excerpt_and_passages() -> None:
    text = "İ" + "long " * 200_000 + "CAFÉ"
    assert excerpt(text, words_of("cafe"), 60)[0].text.startswith("İlong")
    assert "".join(piece.text for piece in passages(text, words_of("long"))) == text
