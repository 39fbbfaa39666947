import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidsafe_dagster.recipe.passages import Block, Passages

BLOCKS = (
    Block("Support handbook", "line 1", is_heading=True),
    Block(
        "Agents must **never** give out another customer's\nname, address or order "
        "history – not even to rela-\ntives.",
        "line 3",
    ),
    Block("Ask for the [order number](https://example.org/n) first.", "line 7"),
    Block("不得提供儿童用药剂量。", "page 2"),
)


@pytest.mark.parametrize(
    ("quotation", "place"),
    [
        ("Agents must never give out another customer’s name", "line 3"),
        ("“name, address or order history - not even to relatives”", "line 3"),
        ("Agents must never … not even to relatives.", "line 3"),
        ("ask for the order number first", "line 7"),
        ("not even to relatives. Ask for the order number", "line 3"),
        ("不得提供儿童用药剂量", "page 2"),
    ],
)
def test_a_quotation_is_found_whatever_quoting_changed(
    quotation: str, place: str
) -> None:
    assert Passages(BLOCKS).place(quotation) == place


@pytest.mark.parametrize(
    "quotation",
    [
        "Agents may give out another customer's name",
        "Agents must never give out a customer's name",
        "not even to relatives … Agents must never",
        "the",
        "",
        "…",
        '"" …',
    ],
)
def test_what_is_not_in_the_document_is_no_passage(quotation: str) -> None:
    assert Passages(BLOCKS).place(quotation) is None


@given(st.text(min_size=1), st.text())
def test_any_text_is_looked_up_without_an_error(text: str, quotation: str) -> None:
    Passages([Block(text, "line 1")]).place(quotation)
