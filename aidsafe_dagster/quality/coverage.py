"""Policy coverage: which policies, and which of their rules, a set of rows applies to and cites.

A single row owes a citation only to the policies that apply to it; a batch or the whole dataset
shows which policies the data will never teach. Two columns are all it needs: `applicable_policies`
and `thoughts`, of any stage with both.
"""

import polars as pl

from aidsafe_dagster.recipe.policies import Policies


def citations(rows: pl.DataFrame) -> pl.DataFrame:
    """One line per cited rule: `row` (0-based place in `rows`), `rule`, `policy`. A rule may be
    unknown.
    """
    thoughts = rows.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "thoughts").explode(
        "thoughts"
    )
    cited = thoughts.select("row", pl.col("thoughts").struct.field("rules").alias("rule")).explode(
        "rule"
    )
    named = cited.filter(pl.col("rule").is_not_null())
    return named.with_columns(pl.col("rule").str.split(".").list.first().alias("policy"))


def policy_coverage(rows: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """A line per policy, in the order of the policies.

    Columns: `policy`, `title`; `applicable_rows`, `citing_rows` (rows that cite any of its rules),
        `covered_rows` (rows that do both), `citations` (thoughts × rules).
    """
    cited = _known(citations(rows), policies)
    applicable = _applicable(rows)
    both = applicable.join(cited, on=["row", "policy"], how="semi")
    table = pl.DataFrame(
        {"policy": policies.ids, "title": [policy.title for policy in policies.policies]},
        schema={"policy": pl.String, "title": pl.String},
    )
    counts = (
        _rows_per(applicable, "policy", "applicable_rows"),
        _rows_per(cited, "policy", "citing_rows"),
        _rows_per(both, "policy", "covered_rows"),
        cited.group_by("policy").agg(pl.len().cast(pl.Int64).alias("citations")),
    )
    for count in counts:
        table = table.join(count, on="policy", how="left", maintain_order="left")
    return table.with_columns(pl.col(pl.Int64).fill_null(0))


def rule_coverage(rows: pl.DataFrame, policies: Policies) -> list[dict[str, object]]:
    """A dict per rule, in the order of the policies: `policy`, `rule`, `text`, `citing_rows`,
    `citations`.
    """
    cited = _known(citations(rows), policies)
    counts = {
        rule: (citing, total)
        for rule, citing, total in cited.group_by("rule")
        .agg(pl.col("row").n_unique().alias("citing_rows"), pl.len().alias("citations"))
        .iter_rows()
    }
    return [
        {
            "policy": rule.partition(".")[0],
            "rule": rule,
            "text": policies.rule(rule),
            "citing_rows": counts.get(rule, (0, 0))[0],
            "citations": counts.get(rule, (0, 0))[1],
        }
        for rule in policies.rule_ids
    ]


def uncovered_policies(rows: pl.DataFrame, policies: Policies) -> tuple[str, ...]:
    """Ids of the policies that no row cites; with no rows, all of them."""
    table = policy_coverage(rows, policies)
    return tuple(table.filter(pl.col("citing_rows") == 0)["policy"])


def _known(cited: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    return cited.filter(pl.col("rule").is_in(list(policies.rule_ids)))


def _applicable(rows: pl.DataFrame) -> pl.DataFrame:
    numbered = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        pl.col("applicable_policies").alias("policy"),
    )
    return numbered.explode("policy").filter(pl.col("policy").is_not_null())


def _rows_per(lines: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    return lines.group_by(key).agg(pl.col("row").n_unique().cast(pl.Int64).alias(name))
