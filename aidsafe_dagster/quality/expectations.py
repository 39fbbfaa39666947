"""Run expectations with Great Expectations, and report the outcomes in plain words.

Great Expectations passes an empty frame and skips nulls. Therefore `between` and the like always
come with an expectation that no value is missing, and every suite requires a number of rows.

The library takes seconds to import, so expectations are declared as data here and only `run_suite`
imports it. It runs in memory: no project folder, no progress bars, no analytics.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any, Literal

import polars as pl

from aidsafe_dagster.primitives.put_off_imports import imports_put_off

MAX_OFFENDERS = 5
Table = Literal["rows", "summary"]
_BRIEF = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""Whether, and how many values are at fault, but not which."""


@dataclass(frozen=True)
class Expectation:
    """A declared expectation. `kind` is the name of its class in Great Expectations."""

    name: str
    table: Table
    """`rows`: the metric frame of the stage; `summary`: one line of facts about the partition."""
    kind: str
    arguments: Mapping[str, object]
    words: str
    """The expectation in plain words."""
    blocking: bool = True
    """If False, a miss is shown but does not close the gate."""


@dataclass(frozen=True)
class ExpectationOutcome:
    name: str
    passed: bool
    observed: str | float
    expected: str
    detail: tuple[str, ...] = ()
    """Up to five offending prompt ids, or why the expectation could not be evaluated."""
    blocking: bool = True

    def __str__(self) -> str:
        observed = self.observed
        if isinstance(observed, float):
            observed = f"{observed:.4g}"
        text = f"{self.name}: expected {self.expected}, saw {observed}"
        return f"{text} ({', '.join(self.detail)})" if self.detail else text


@dataclass(frozen=True)
class SuiteResult:
    passed: bool
    """True if every blocking expectation passed."""
    expectations: tuple[ExpectationOutcome, ...] = field(default=())

    @property
    def summary(self) -> str:
        """What was missed, in words; without a miss, how many expectations were met."""
        closing: list[str] = []
        noted: list[str] = []
        for outcome in self.expectations:
            if not outcome.passed:
                (closing if outcome.blocking else noted).append(str(outcome))
        met = len(self.expectations) - len(closing) - len(noted)
        summary = "; ".join(closing) or f"{met} expectations met"
        if noted:
            summary += f". Noted, not blocking: {'; '.join(noted)}"
        return summary


def between(
    column: str,
    low: float | None,
    high: float | None,
    *,
    mostly: float = 1,
    blocking: bool = True,
) -> tuple[Expectation, Expectation]:
    """Expect a value in each row, within two inclusive bounds."""
    words = _describe_range(low, high)
    if mostly != 1:
        words += f", in at least {mostly:.0%} of the rows"
    in_bounds = Expectation(
        name=column,
        table="rows",
        kind="ExpectColumnValuesToBeBetween",
        arguments={
            "column": column,
            "min_value": low,
            "max_value": high,
            "mostly": mostly,
        },
        words=words,
        blocking=blocking,
    )
    return present(column, blocking=blocking), in_bounds


def equal(
    column: str, value: object, *, blocking: bool = True
) -> tuple[Expectation, Expectation]:
    """Expect this value in each row."""
    is_equal = Expectation(
        name=column,
        table="rows",
        kind="ExpectColumnValuesToBeInSet",
        arguments={"column": column, "value_set": [value]},
        words="empty" if value == "" else str(value),
        blocking=blocking,
    )
    return present(column, blocking=blocking), is_equal


def unique(column: str) -> tuple[Expectation, Expectation]:
    """Expect a value in each row, and no value twice."""
    is_unique = Expectation(
        name=f"{column} unique",
        table="rows",
        kind="ExpectColumnValuesToBeUnique",
        arguments={"column": column},
        words="no value twice",
    )
    return present(column), is_unique


def present(column: str, *, blocking: bool = True) -> Expectation:
    """Expect a value in each row."""
    return Expectation(
        name=f"{column} present",
        table="rows",
        kind="ExpectColumnValuesToNotBeNull",
        arguments={"column": column},
        words="no nulls",
        blocking=blocking,
    )


def row_count(low: int) -> Expectation:
    """Expect at least this number of rows."""
    return Expectation(
        name="rows",
        table="rows",
        kind="ExpectTableRowCountToBeBetween",
        arguments={"min_value": low},
        words=_describe_range(low, None),
    )


def median(column: str, high: float) -> Expectation:
    """Expect the median of a column to be at most this, over all rows."""
    return Expectation(
        name=f"median {column}",
        table="rows",
        kind="ExpectColumnMedianToBeBetween",
        arguments={"column": column, "max_value": high},
        words=_describe_range(None, high),
    )


def fact(column: str, low: float | None, high: float | None) -> Expectation:
    """Expect a known fact about the partition, within two inclusive bounds."""
    return Expectation(
        name=column,
        table="summary",
        kind="ExpectColumnMaxToBeBetween",
        arguments={"column": column, "min_value": low, "max_value": high},
        words=_describe_range(low, high),
    )


def run_suite(
    name: str, expectations: Sequence[Expectation], tables: Mapping[Table, pl.DataFrame]
) -> SuiteResult:
    """Evaluate the expectations of one suite, each name once."""
    return run_suites(name, {name: expectations}, tables)[name]


def run_suites(
    title: str,
    suites: Mapping[str, Sequence[Expectation]],
    tables: Mapping[Table, pl.DataFrame],
) -> dict[str, SuiteResult]:
    """Evaluate several suites on the same tables at once.

    What suites have in common is evaluated once: every validation of the library works out anew
    which metrics it takes. An expectation's name says what it expects, in all suites.

    Args:
        title: of what is validated.
        suites: the expectations of each suite, by its name.
        tables: the table of rows needs a column `prompt_id`, which identifies offending rows.

    Raises:
        ValueError: two expectations of one name differ.
    """
    # `between` and its like each bring the same expectation that a value is present.
    by_name = dict[str, Expectation]()
    for expectation in chain.from_iterable(suites.values()):
        if by_name.setdefault(expectation.name, expectation) != expectation:
            raise ValueError(f"{title} expects two things as '{expectation.name}'")
    outcomes = dict[str, ExpectationOutcome]()
    for table, frame in tables.items():
        declared = [item for item in by_name.values() if item.table == table]
        for outcome in _evaluate(title, table, frame, declared):
            outcomes[outcome.name] = outcome
    results = {}
    for suite, expectations in suites.items():
        # In the order of declaration, in which a person reads them.
        names = dict.fromkeys(expectation.name for expectation in expectations)
        ordered = tuple(outcomes[name] for name in names)
        passed = all(outcome.passed for outcome in ordered if outcome.blocking)
        results[suite] = SuiteResult(passed, ordered)
    return results


def _evaluate(
    title: str,
    table: Table,
    frame: pl.DataFrame,
    expectations: Sequence[Expectation],
) -> list[ExpectationOutcome]:
    if not expectations:
        return []
    gx = _import_great_expectations()
    validator = _new_validator(gx, frame)
    results = _validate(gx, validator, f"{title} {table}", expectations, _BRIEF)
    # Which rows are at fault costs as much again to find out, and mostly none is.
    at_fault = []
    for expectation in expectations:
        if results[expectation.name].result.get("unexpected_count"):
            at_fault.append(expectation)
    if at_fault:
        detail = _result_format(table)
        results |= _validate(gx, validator, f"{title} {table}", at_fault, detail)
    outcomes = []
    for expectation in expectations:
        outcomes.append(_to_outcome(expectation, results[expectation.name]))
    return outcomes


def _validate(
    gx: Any,
    validator: Any,
    name: str,
    expectations: Sequence[Expectation],
    result_format: Mapping[str, object],
) -> dict[str, Any]:
    """Return the library's result of each expectation of a suite, by name."""
    declared = []
    for expectation in expectations:
        make = getattr(gx.expectations, expectation.kind)
        # The name leads from a result back to its expectation, whatever the order of results.
        meta = {"name": expectation.name}
        declared.append(make(**expectation.arguments, meta=meta))
    suite = gx.ExpectationSuite(name, expectations=declared)
    results = validator.graph_validate(
        configurations=suite.expectation_configurations,
        runtime_configuration={"result_format": dict(result_format)},
    )
    return {result.expectation_config.meta["name"]: result for result in results}


def _new_validator(gx: Any, frame: pl.DataFrame) -> Any:
    """Return what the library's contexts use in the end: a frame and the metrics taken of it.

    A context would keep every frame that it is given, and write its own configuration as YAML each
    time, which takes longer than the expectations.
    """
    from great_expectations.execution_engine import (  # noqa: PLC0415
        PandasExecutionEngine,
    )
    from great_expectations.validator.validator import Validator  # noqa: PLC0415

    # The library reads no polars frame.
    engine = PandasExecutionEngine(batch_data_dict={"all": frame.to_pandas()})
    return Validator(execution_engine=engine, data_context=_context(gx))


@cache
def _context(gx: Any) -> Any:
    """Return the context that says how the library behaves: no progress bars, no analytics."""
    from great_expectations.data_context.types import base  # noqa: PLC0415

    config = base.DataContextConfig(
        analytics_enabled=False,
        progress_bars=base.ProgressBarsConfig(globally=False),
        store_backend_defaults=base.InMemoryStoreBackendDefaults(),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _import_great_expectations() -> Any:
    # A third of its import is these two, for expectations that no suite of ours has.
    with imports_put_off("altair", "scipy.stats"), warnings.catch_warnings():
        # Its imports use modules that Python deprecates.
        warnings.simplefilter("ignore")
        import great_expectations  # noqa: PLC0415 - takes seconds
        import great_expectations.expectations  # noqa: PLC0415
    return great_expectations


def _result_format(table: Table) -> dict[str, object]:
    result_format: dict[str, object] = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": MAX_OFFENDERS,
    }
    # The summary is a single line of facts and has no prompt ids.
    if table == "rows":
        result_format["unexpected_index_column_names"] = ["prompt_id"]
    return result_format


def _to_outcome(expectation: Expectation, result: Any) -> ExpectationOutcome:
    passed = bool(result.success)
    observed: str | float = "not evaluated"
    error = _evaluation_error(result.exception_info or {})
    # What could not be evaluated did not pass, whatever the library says.
    if error:
        passed, detail = False, [error]
    else:
        observed = _describe_observation(result.result)
        detail = _offending_ids(result.result)
    return ExpectationOutcome(
        name=expectation.name,
        passed=passed,
        observed=observed,
        expected=expectation.words,
        detail=tuple(detail),
        blocking=expectation.blocking,
    )


def _evaluation_error(info: Mapping[str, Any]) -> str:
    """Return why an expectation could not be evaluated; empty if it was evaluated."""
    # The library nests the information by metric for some expectations, and not for others.
    nested = [value for value in info.values() if isinstance(value, dict)]
    for entry in (info, *nested):
        if entry.get("exception_message"):
            return str(entry["exception_message"])
    return ""


def _offending_ids(result: Mapping[str, Any]) -> list[str]:
    rows = result.get("partial_unexpected_index_list") or []
    # A prompt may have two rows, an SFT and a DPO one, and is named once.
    ids = dict.fromkeys(str(row["prompt_id"]) for row in rows)
    distinct = list(ids)
    return distinct[:MAX_OFFENDERS]


def _describe_observation(result: Mapping[str, Any]) -> str | float:
    if "observed_value" in result:
        value = result["observed_value"]
        # An empty or unknown fact is NaN in pandas.
        if value is None or math.isnan(value):
            return "unknown"
        number: float = _plain_number(value)
        return number
    count, total = result["unexpected_count"], result["element_count"]
    if not count:
        return f"all of {total} rows"
    unexpected = result.get("partial_unexpected_list") or []
    values = dict.fromkeys(str(_plain_number(value)) for value in unexpected)
    if not values:
        return f"{count} of {total} rows"
    listing = ", ".join(values)
    return f"{count} of {total} rows with {listing}"


def _plain_number(value: Any) -> Any:
    """Convert to a plain Python number, an integer if possible; return other values unchanged."""
    plain = value.item() if hasattr(value, "item") else value
    # A column of integers with a null is one of floats in pandas, and "20.0 tokens" reads badly.
    if isinstance(plain, float) and plain.is_integer():
        return int(plain)
    return plain


def _describe_range(low: float | None, high: float | None) -> str:
    if low == high:
        return f"exactly {low}"
    if high is None:
        return f"at least {low}"
    if low is None:
        return f"at most {high}"
    return f"{low} to {high}"
