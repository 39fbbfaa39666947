"""A mistake in a TOML file is told with the line that it stands on."""

import pytest

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.toml_text import parse_toml, quote_key

SETTINGS = '''\
engine = "rehearsal"
[endpoint]
slots = "many"
prices = { input = 1 }
[servers.big]
base_url = "http://h/v1"
note = """
slots = 5
"""
[[sources]]
name = "one"
[[sources]]
name = "Two"
[sources.columns]
prompt = "q"
'''


def message_for(text: str) -> str:
    with pytest.raises(SetupError) as refused:
        parse_toml(text, "mine.toml")
    return str(refused.value)


def test_a_line_that_does_not_parse_is_quoted_with_a_caret_below_the_mistake() -> None:
    message = message_for('seed = 1\nengine "rehearsal"\n')
    first, quoted, caret = message.splitlines()
    assert first.startswith("mine.toml, line 2: not a TOML file: Expected '='")
    assert quoted == '  2 | engine "rehearsal"'
    assert quoted[caret.index("^")] == '"'


def test_a_quotation_mark_that_is_not_there_is_named() -> None:
    with pytest.raises(SetupError, match="a quotation mark is missing"):
        parse_toml('title = "Ours\nid = "ours"\n', "ours.toml")


def test_a_file_that_ends_too_early_is_quoted_at_its_end() -> None:
    message = message_for('title = """never\nclosed\n\n')
    assert "mine.toml, line 2" in message
    assert "  2 | closed" in message


def test_of_a_long_line_the_part_around_the_mistake_is_quoted() -> None:
    message = message_for(f"names = [{', '.join(['1'] * 100)}, no]\n")
    _, quoted, caret = message.splitlines()
    assert max(len(quoted), len(caret)) < 80
    assert "no" in quoted


@pytest.mark.parametrize(
    "line",
    ['api_key = "sk-abc', '"x" "hf_abcdefghijkl"', "password = hunter2", "t = sk-12"],
)
def test_a_line_that_may_hold_a_secret_is_not_quoted(line: str) -> None:
    message = message_for(f"{line}\n")
    assert "line 1" in message
    for secret in ("abc", "hunter2", "sk-12"):
        assert secret not in message


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        (("engine",), '1 | engine = "rehearsal"'),
        (("endpoint", "slots"), '3 | slots = "many"'),
        (("endpoint", "prices", "input"), "4 | prices = { input = 1 }"),
        (("servers", "big", "slots"), "5 | [servers.big]"),
        (("sources", 1, "name"), '13 | name = "Two"'),
        (("sources", 1, "licence"), "12 | [[sources]]"),
        (("sources", 1, "columns", "prompt"), '15 | prompt = "q"'),
    ],
)
def test_a_key_is_quoted_with_its_line_or_that_of_its_table(
    path: tuple[str | int, ...], quoted: str
) -> None:
    assert quote_key(SETTINGS, path) == f"\n  {quoted}"


def test_of_a_key_that_is_nowhere_nothing_is_quoted() -> None:
    assert quote_key(SETTINGS, ("training", "python")) == ""
