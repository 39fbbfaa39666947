"""Coverage counts rows and citations per policy and rule, and lists policies that no row cites."""

import polars as pl

from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.quality.coverage import (
    policy_coverage,
    rarely_applicable_policies,
    rule_coverage,
    uncovered_policies,
)
from aidsafe_dagster.recipe.records import RefinedCot, SeedCot
from tests.builders import (
    a_refined_cot,
    a_refined_thought,
    a_seed_cot,
    a_thought,
    policies,
)


def two_rows() -> pl.DataFrame:
    """`illegal` applies to both. The first cites it twice, the second `fraud` and no known rule."""
    first = a_seed_cot(
        applicable_policies=("illegal",),
        thoughts=(a_thought(rules=("illegal.1",)), a_thought(rules=("illegal.1",))),
    )
    second = a_seed_cot(
        applicable_policies=("illegal",),
        thoughts=(a_thought(rules=("fraud.2", "helpfulness.9")),),
    )
    return to_frame([first, second], SeedCot)


def test_rows_and_citations_are_counted_per_policy() -> None:
    counts = policy_coverage(two_rows(), policies()).drop("title").rows()
    # policy, applicable rows, citing rows, covered rows, citations
    assert counts == [
        ("fraud", 0, 1, 0, 1),
        ("helpfulness", 0, 0, 0, 0),
        ("illegal", 2, 1, 1, 2),
    ]


def rows_of(policy_rows: dict[str, int], others: int) -> pl.DataFrame:
    """So many rows to which a policy applies, and as many others as said."""
    rows = []
    for policy, count in policy_rows.items():
        rows += [a_seed_cot(applicable_policies=(policy,))] * count
    rows += [a_seed_cot(applicable_policies=())] * others
    return to_frame(rows, SeedCot)


def rare(rows: pl.DataFrame, min_share: float) -> tuple[str, ...]:
    table = policy_coverage(rows, policies())
    return rarely_applicable_policies(table, rows.height, min_share)


def test_a_policy_that_applies_to_fewer_rows_than_the_share_is_named() -> None:
    rows = rows_of({"fraud": 1, "helpfulness": 150}, others=49)
    assert rare(rows, 0.01) == ("fraud", "illegal")
    # A share of exactly the bound is enough.
    assert rare(rows, 0.005) == ("illegal",)
    assert rare(rows, 0) == ()


def test_in_a_few_rows_no_policy_applies_too_rarely() -> None:
    assert rare(rows_of({"helpfulness": 49}, others=0), 0.01) == ()
    assert rare(rows_of({"helpfulness": 50}, others=0), 0.01) == ("fraud", "illegal")


def test_citations_are_counted_per_rule() -> None:
    counts = {
        line["rule"]: (line["citing_rows"], line["citations"])
        for line in rule_coverage(two_rows(), policies())
    }
    assert counts == {
        "fraud.1": (0, 0),
        "fraud.2": (1, 1),
        "helpfulness.1": (0, 0),
        "helpfulness.2": (0, 0),
        "illegal.1": (1, 2),
        "illegal.2": (0, 0),
    }


def test_the_rule_table_contains_the_text_of_the_rule() -> None:
    assert rule_coverage(two_rows(), policies())[0] == {
        "policy": "fraud",
        "rule": "fraud.1",
        "text": "Help no one to deceive.",
        "citing_rows": 0,
        "citations": 0,
    }


def test_uncovered_policies_are_those_that_no_row_cites() -> None:
    assert uncovered_policies(two_rows(), policies()) == ("helpfulness",)
    citing_all = a_refined_cot(
        thoughts=(a_refined_thought(rules=("fraud.1", "helpfulness.1", "illegal.1")),)
    )
    assert uncovered_policies(to_frame([citing_all], RefinedCot), policies()) == ()


def test_without_rows_every_policy_is_uncovered() -> None:
    none = to_frame([], SeedCot)
    assert uncovered_policies(none, policies()) == policies().ids
    assert policy_coverage(none, policies())["applicable_rows"].to_list() == [0, 0, 0]
    assert {line["citations"] for line in rule_coverage(none, policies())} == {0}


def test_rows_without_thoughts_or_rules_count_as_rows_without_citations() -> None:
    rows = [
        a_seed_cot(thoughts=(), cot_tokens=0),
        a_seed_cot(thoughts=(a_thought(rules=()),)),
    ]
    table = policy_coverage(to_frame(rows, SeedCot), policies())
    assert table["citing_rows"].to_list() == [0, 0, 0]
    assert table["applicable_rows"].to_list() == [0, 2, 2]


def test_two_columns_are_enough() -> None:
    rows = two_rows()
    two_columns = rows.select("thoughts", "applicable_policies")
    coverage = policy_coverage(two_columns, policies())
    assert coverage.equals(policy_coverage(rows, policies()))
