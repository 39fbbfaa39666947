"""Runs expectations with Great Expectations and says in plain words what came out.

Great Expectations passes on an empty frame and skips nulls. So `between` and its like always come
with an expectation that no value is missing, and every suite demands a number of rows. Expectations
are declared as data here, because the library takes seconds to import: only `run` imports it. It
runs in memory: no project folder, no progress bars, no analytics.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

MAX_OFFENDERS = 5
Table = Literal["rows", "summary"]


@dataclass(frozen=True)
class Expected:
    """One expectation, declared. `kind` is the name of its class in Great Expectations."""

    name: str
    table: Table
    """`rows`: the metric frame of the stage; `summary`: one line of facts about the partition."""
    kind: str
    arguments: Mapping[str, object]
    words: str
    """What is expected, for a person."""
    blocking: bool = True
    """False: shown, and does not close the gate."""


@dataclass(frozen=True)
class ExpectationOutcome:
    name: str
    passed: bool
    observed: str | float
    expected: str
    detail: tuple[str, ...] = ()
    """Up to five offending prompt ids, or why the expectation could not be evaluated."""
    blocking: bool = True


@dataclass(frozen=True)
class SuiteResult:
    passed: bool
    """True when every blocking expectation passed."""
    expectations: tuple[ExpectationOutcome, ...] = field(default=())


def between(
    column: str, low: float | None, high: float | None, *, mostly: float = 1, blocking: bool = True
) -> tuple[Expected, Expected]:
    """Each row's value is there and lies between two bounds, both included."""
    least = "" if mostly == 1 else f", in at least {mostly:.0%} of the rows"
    arguments = {"column": column, "min_value": low, "max_value": high, "mostly": mostly}
    kind, words = "ExpectColumnValuesToBeBetween", f"{_range(low, high)}{least}"
    return present(column, blocking=blocking), Expected(
        column, "rows", kind, arguments, words, blocking
    )


def equal(column: str, value: object, *, blocking: bool = True) -> tuple[Expected, Expected]:
    """Each row's value is there and is this one."""
    arguments = {"column": column, "value_set": [value]}
    words = "empty" if value == "" else str(value)
    expected = Expected(column, "rows", "ExpectColumnValuesToBeInSet", arguments, words, blocking)
    return present(column, blocking=blocking), expected


def unique(column: str) -> tuple[Expected, Expected]:
    arguments = {"column": column}
    return present(column), Expected(
        f"{column} unique", "rows", "ExpectColumnValuesToBeUnique", arguments, "no value twice"
    )


def present(column: str, *, blocking: bool = True) -> Expected:
    arguments = {"column": column}
    return Expected(
        f"{column} present",
        "rows",
        "ExpectColumnValuesToNotBeNull",
        arguments,
        "no nulls",
        blocking,
    )


def row_count(low: int) -> Expected:
    return Expected(
        "rows", "rows", "ExpectTableRowCountToBeBetween", {"min_value": low}, _range(low, None)
    )


def fact(column: str, low: float | None, high: float | None) -> Expected:
    """A fact about the whole partition is known and lies between two bounds, both included."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Expected(column, "summary", "ExpectColumnMaxToBeBetween", arguments, _range(low, high))


def run(
    name: str, expected: Sequence[Expected], tables: Mapping[Table, pl.DataFrame]
) -> SuiteResult:
    """Evaluates the expectations, each name once. The table of rows has a `prompt_id` column, to
    name offenders by.
    """
    once = list({one.name: one for one in expected}.values())
    outcomes = {
        outcome.name: outcome
        for table, frame in tables.items()
        for outcome in _evaluate(name, table, frame, [one for one in once if one.table == table])
    }
    in_order = tuple(outcomes[one.name] for one in once)
    return SuiteResult(all(outcome.passed for outcome in in_order if outcome.blocking), in_order)


def _evaluate(
    name: str, table: Table, frame: pl.DataFrame, expected: Sequence[Expected]
) -> list[ExpectationOutcome]:
    if not expected:
        return []
    gx = _great_expectations()
    by_name = {one.name: one for one in expected}
    suite = gx.ExpectationSuite(
        f"{name} {table}",
        expectations=[
            getattr(gx.expectations, e.kind)(**e.arguments, meta={"name": e.name}) for e in expected
        ],
    )
    asset = _context(gx).data_sources.add_pandas(table).add_dataframe_asset(table)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": frame.to_pandas()}
    )
    result = batch.validate(suite, result_format=_result_format(table))
    return [_outcome(by_name[one.expectation_config.meta["name"]], one) for one in result.results]


def _great_expectations() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports use modules that Python calls deprecated
        import great_expectations  # noqa: PLC0415 - takes seconds
        import great_expectations.expectations  # noqa: PLC0415
    return great_expectations


def _context(gx: Any) -> Any:
    """A fresh one a time, because a context keeps every frame it was given."""
    from great_expectations.data_context.types import base  # noqa: PLC0415

    config = base.DataContextConfig(
        analytics_enabled=False,
        progress_bars=base.ProgressBarsConfig(globally=False),
        store_backend_defaults=base.InMemoryStoreBackendDefaults(),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _result_format(table: Table) -> dict[str, object]:
    named = {"unexpected_index_column_names": ["prompt_id"]} if table == "rows" else {}
    return {"result_format": "SUMMARY", "partial_unexpected_count": MAX_OFFENDERS, **named}


def _outcome(expected: Expected, evaluated: Any) -> ExpectationOutcome:
    problem = _problem(evaluated.exception_info or {})
    detail = (problem,) if problem else tuple(_offenders(evaluated.result))
    observed = "not evaluated" if problem else _observed(evaluated.result)
    passed = bool(evaluated.success) and not problem
    return ExpectationOutcome(
        expected.name, passed, observed, expected.words, detail, expected.blocking
    )


def _problem(info: Mapping[str, Any]) -> str:
    """Why an expectation was not evaluated; empty if it was. The library nests it by metric, or
    does not.
    """
    nested = [info, *(inner for inner in info.values() if isinstance(inner, dict))]
    return next(
        (str(inner["exception_message"]) for inner in nested if inner.get("exception_message")), ""
    )


def _offenders(result: Mapping[str, Any]) -> list[str]:
    lines = result.get("partial_unexpected_index_list") or []
    return list(dict.fromkeys(str(line["prompt_id"]) for line in lines))[:MAX_OFFENDERS]


def _observed(result: Mapping[str, Any]) -> str | float:
    if "observed_value" in result:
        value = result["observed_value"]
        return "unknown" if value is None or math.isnan(value) else _number(value)
    count, total = result["unexpected_count"], result["element_count"]
    if not count:
        return f"all of {total} rows"
    values = list(
        dict.fromkeys(str(_number(value)) for value in result.get("partial_unexpected_list") or [])
    )
    return f"{count} of {total} rows not: {', '.join(values)}"


def _number(value: Any) -> Any:
    """A plain Python number, whole if it is whole; anything else as it is."""
    plain = value.item() if hasattr(value, "item") else value
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _range(low: float | None, high: float | None) -> str:
    if low == high:
        return f"exactly {low}"
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} to {high}"
