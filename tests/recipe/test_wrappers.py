"""Wrappers: what they make of a request, and in which order a prompt gets them."""

import base64
from collections import Counter
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.wrappers import (
    BUNDLED,
    Encoding,
    Wrapper,
    choose_wrappers,
    load_wrappers,
)

WRAPPERS = load_wrappers(BUNDLED)
REQUEST = "How do I forge a {request} for {first} aid?"


def a_wrapper(encoding: Encoding = "none", template: str = "Do: {request}") -> Wrapper:
    return Wrapper(
        name="one", kind="play", about="It plays.", encoding=encoding, template=template
    )


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return path


def in_wrapper_a(lines: str) -> str:
    return f"[[wrappers]]\nname='a'\nkind='k'\nabout='x'\n{lines}\n"


def test_there_are_a_dozen_kinds_each_with_a_sentence_about_it() -> None:
    assert len({wrapper.kind for wrapper in WRAPPERS}) >= 12
    assert len({wrapper.about for wrapper in WRAPPERS}) == len(WRAPPERS)


def test_a_place_that_the_request_names_stays_a_word_of_the_request() -> None:
    assert a_wrapper().wrap(REQUEST) == f"Do: {REQUEST}"


@pytest.mark.parametrize(
    ("encoding", "request_", "wrapped"),
    [
        ("base64", "Öl?", "Do: w5ZsPw=="),
        ("hex", "Hi", "Do: 48 69"),
        ("rot13", "Hi there", "Do: Uv gurer"),
        ("reversed", "Hi", "Do: iH"),
    ],
)
def test_a_request_is_written_in_the_code_of_the_wrapper(
    encoding: Encoding, request_: str, wrapped: str
) -> None:
    assert a_wrapper(encoding).wrap(request_) == wrapped


def test_halves_make_the_request_again() -> None:
    text = a_wrapper("halves", "{first}|{second}").wrap("abcde")
    assert text == "ab|cde"


def test_a_code_that_leaves_a_request_as_it_is_wraps_nothing() -> None:
    assert a_wrapper("rot13").wrap("你好吗") is None
    assert a_wrapper("base64").wrap("你好吗") is not None


def test_the_same_prompt_gets_the_same_wrappers_and_more_add_to_fewer() -> None:
    order = choose_wrappers("c0ffee", WRAPPERS, 0)
    assert order == choose_wrappers("c0ffee", tuple(reversed(WRAPPERS)), 0)
    assert order != choose_wrappers("c0ffee", WRAPPERS, 1)
    assert sorted(order, key=str) == sorted(WRAPPERS, key=str)


def test_each_kind_comes_before_any_comes_twice() -> None:
    kinds = [wrapper.kind for wrapper in choose_wrappers("c0ffee", WRAPPERS, 0)]
    different = len(set(kinds))
    assert len(set(kinds[:different])) == different


def test_over_many_prompts_the_kinds_are_chosen_evenly() -> None:
    first = [choose_wrappers(f"{n:016x}", WRAPPERS, 0)[0].kind for n in range(2600)]
    counts = Counter(first)
    assert min(counts.values()) > 120
    assert max(counts.values()) < 290


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wrappers = []", ": each wrapper is a table [[wrappers]], and there is none"),
        ("", "and there is none"),
        ("[[wrapper]]\nname='a'", "Did you mean 'wrappers'?"),
        ("[[wrappers]]\nname='a'", ", wrapper 'a': kind: it is missing"),
        ("[[wrappers]]\nkind='a'", ", wrapper 1: name: it is missing"),
        ("[[wrappers]]\nname='My Own'", "a name has small letters"),
        ("[[wrappers]]\nname='a'\nabuot='x'", "Did you mean 'about'?"),
        (in_wrapper_a("template='no place'"), "the template needs {request}, and no"),
        (in_wrapper_a("template='{request} {first}'"), "no other place ({first})"),
        (in_wrapper_a("template='{request} {requst}'"), "no other place ({requst})"),
        (in_wrapper_a("template='{request}'"), "has nothing around {request}"),
        (
            in_wrapper_a("encoding='halves'\ntemplate='{request}'"),
            "needs {first} and {second}",
        ),
        (
            in_wrapper_a("encoding='rot47'\ntemplate='{request}'"),
            "encoding: 'none', 'base64', 'hex', 'rot13', 'reversed' or 'halves' is due",
        ),
        ("[[wrappers]\nname='a'", "line 1: not a TOML file"),
        (
            in_wrapper_a("template='Do: {request}'") * 2,
            "two wrappers have the name 'a'",
        ),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SetupError) as error:
        load_wrappers(written(tmp_path, text))
    assert words in str(error.value)
    assert "own.toml" in str(error.value)
    assert "Value error" not in str(error.value)


def test_braces_that_are_no_place_stay_in_a_template() -> None:
    wrapper = a_wrapper(template='Answer in JSON: {"answer": ["…"]} {} {request}')
    assert wrapper.wrap("Hi") == 'Answer in JSON: {"answer": ["…"]} {} Hi'


def test_a_file_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"none\.toml"):
        load_wrappers(tmp_path / "none.toml")


def test_a_request_survives_its_code() -> None:
    text = a_wrapper("base64", "{request}").wrap(REQUEST)
    assert text
    assert base64.b64decode(text).decode() == REQUEST
