"""Policy coverage: the policies that apply to a set of rows, and the rules that the rows cite.

A single row must cite only the policies that apply to it. A batch or the whole dataset shows which
policies the data never teaches. Only the columns `applicable_policies` and `thoughts` are needed,
which several stages have.
"""

import polars as pl

from aidsafe_dagster.recipe.policies import Policies

MIN_ROWS_FOR_SHARES = 50
"""In fewer rows, a share of one in a hundred cannot be told from none."""


def citations(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one line per cited rule, known or unknown.

    Columns: `row` (0-based index into `rows`), `rule`, `policy`.
    """
    index = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    thoughts = rows.select(index, "thoughts").explode("thoughts")
    rules = pl.col("thoughts").struct.field("rules").alias("rule")
    cited = thoughts.select("row", rules).explode("rule")
    # Exploding an empty list leaves a null: a thought that cites nothing.
    cited = cited.filter(pl.col("rule").is_not_null())
    parts = pl.col("rule").str.split(".")
    policy = parts.list.first().alias("policy")
    return cited.with_columns(policy)


def policy_coverage(rows: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """Return one line per policy, in the order of the policies.

    Columns: `policy`, `title`; `applicable_rows`, `citing_rows` (rows that cite any of its rules),
    `covered_rows` (applicable rows that cite it), `citations` (thoughts × rules).
    """
    cited = _drop_unknown(citations(rows), policies)
    applicable = _applicable_policies(rows)
    covered = applicable.join(cited, on=["row", "policy"], how="semi")
    titles = [policy.title for policy in policies.policies]
    table = pl.DataFrame(
        {"policy": policies.ids, "title": titles},
        schema={"policy": pl.String, "title": pl.String},
    )
    # All counts are Int64, so that they can be told from the texts by their type below.
    total = pl.len().cast(pl.Int64).alias("citations")
    counts = (
        _count_rows(applicable, "applicable_rows"),
        _count_rows(cited, "citing_rows"),
        _count_rows(covered, "covered_rows"),
        cited.group_by("policy").agg(total),
    )
    # Left joins keep the policies that no row cites, which are the ones to look for.
    for count in counts:
        table = table.join(count, on="policy", how="left", maintain_order="left")
    return table.with_columns(pl.col(pl.Int64).fill_null(0))


def rule_coverage(rows: pl.DataFrame, policies: Policies) -> list[dict[str, object]]:
    """Return one dict per rule, in the order of the policies.

    Keys: `policy`, `rule`, `text`, `citing_rows`, `citations`.
    """
    cited = _drop_unknown(citations(rows), policies)
    counts = cited.group_by("rule").agg(
        pl.col("row").n_unique().alias("citing_rows"),
        pl.len().alias("citations"),
    )
    by_rule: dict[str, tuple[int, int]] = {}
    for rule, citing_rows, total in counts.iter_rows():
        by_rule[rule] = (citing_rows, total)
    lines = list[dict[str, object]]()
    for rule in policies.rule_ids:
        citing_rows, total = by_rule.get(rule, (0, 0))
        lines.append(
            {
                "policy": rule.partition(".")[0],
                "rule": rule,
                "text": policies.rule(rule),
                "citing_rows": citing_rows,
                "citations": total,
            }
        )
    return lines


def uncovered_policies(rows: pl.DataFrame, policies: Policies) -> tuple[str, ...]:
    """Return the ids of the policies that no row cites; without rows, all of them."""
    table = policy_coverage(rows, policies)
    uncited = table.filter(pl.col("citing_rows") == 0)
    return tuple(uncited["policy"])


def rarely_applicable_policies(
    table: pl.DataFrame, rows: int, min_share: float
) -> tuple[str, ...]:
    """Return the ids of the policies that apply to less than a share of the rows.

    Args:
        table: of `policy_coverage`.
        rows: the number of rows that it was made from; below `MIN_ROWS_FOR_SHARES`, a share says
            little and no policy is returned.
        min_share: 0 to 1.
    """
    if rows < MIN_ROWS_FOR_SHARES:
        return ()
    rare = table.filter(pl.col("applicable_rows") < min_share * rows)
    return tuple(rare["policy"])


def _drop_unknown(cited: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    known_rules = list(policies.rule_ids)
    return cited.filter(pl.col("rule").is_in(known_rules))


def _applicable_policies(rows: pl.DataFrame) -> pl.DataFrame:
    index = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    policy = pl.col("applicable_policies").alias("policy")
    lines = rows.select(index, policy).explode("policy")
    return lines.filter(pl.col("policy").is_not_null())


def _count_rows(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Count the distinct rows per policy."""
    # A row may cite several rules of a policy, and still counts once.
    distinct = pl.col("row").n_unique()
    count = distinct.cast(pl.Int64).alias(name)
    return lines.group_by("policy").agg(count)
