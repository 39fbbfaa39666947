"""Expectations run on the real Great Expectations, in memory. None passes for want of values."""

import logging
import socket
from pathlib import Path
from typing import NoReturn

import polars as pl
import pytest

from aidsafe_dagster.quality.expectations import (
    Expected,
    SuiteResult,
    between,
    equal,
    fact,
    run,
    unique,
)


def failed(result: SuiteResult) -> set[str]:
    return {one.name for one in result.expectations if not one.passed}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 5, 9], set()),
        ([0, 5, 10], {"tokens"}),
        ([1, None, 9], {"tokens present"}),
        ([None, None, None], {"tokens present"}),
    ],
)
def test_bounds_are_included_and_nulls_are_not(values: list[int | None], names: set[str]) -> None:
    table = pl.DataFrame(
        {"prompt_id": ["p1", "p2", "p3"], "tokens": pl.Series(values, dtype=pl.Int64)}
    )
    assert failed(run("bounds", between("tokens", 1, 9), {"rows": table})) == names


def test_a_share_of_the_rows_may_be_enough() -> None:
    table = pl.DataFrame({"prompt_id": ["p1", "p2", "p3", "p4"], "tokens": [1, 2, 3, 99]})
    assert run("mostly", between("tokens", 1, 9, mostly=0.75), {"rows": table}).passed
    assert not run("mostly", between("tokens", 1, 9, mostly=0.8), {"rows": table}).passed


def test_a_fact_that_is_not_known_is_not_met() -> None:
    facts = pl.DataFrame({"lost": [0]})
    assert run("facts", [fact("lost", 0, 0)], {"summary": facts}).passed
    unknown = run(
        "facts",
        [fact("lost", 0, 0)],
        {"summary": facts.with_columns(lost=pl.lit(None, dtype=pl.Int64))},
    )
    assert (failed(unknown), unknown.expectations[0].observed) == ({"lost"}, "unknown")


def test_only_blocking_expectations_close_a_suite() -> None:
    table = pl.DataFrame({"prompt_id": ["p1", "p1"], "flag": [True, False]})
    noted = run("flags", equal("flag", value=True, blocking=False), {"rows": table})
    assert (noted.passed, failed(noted)) == (True, {"flag"})
    closed = run(
        "flags", [*equal("flag", value=True, blocking=False), *unique("prompt_id")], {"rows": table}
    )
    assert (closed.passed, failed(closed)) == (False, {"flag", "prompt_id unique"})


def test_an_expectation_that_cannot_be_evaluated_counts_as_failed() -> None:
    table = pl.DataFrame({"prompt_id": ["p1"], "word": ["a"]})
    result = run("broken", between("word", 1, 2), {"rows": table})
    assert failed(result) == {"word"}
    assert result.expectations[1].observed == "not evaluated"
    missing = Expected(
        "gone", "rows", "ExpectColumnValuesToNotBeNull", {"column": "gone"}, "no nulls"
    )
    assert failed(run("broken", [missing], {"rows": table})) == {"gone"}


def test_a_run_writes_nothing_says_nothing_and_calls_nobody(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = pl.DataFrame({"prompt_id": ["p1", "p2"], "tokens": [3, 4]})
    calls: list[object] = []

    def no_network(*address: object, **_: object) -> NoReturn:
        calls.append(address)
        raise OSError("no network in this test")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("example.invalid", 80))
    calls.clear()
    with caplog.at_level(logging.WARNING):
        assert run("quiet", between("tokens", 1, 9), {"rows": table}).passed
    assert (list(tmp_path.iterdir()), calls, caplog.messages, tuple(capfd.readouterr())) == (
        [],
        [],
        [],
        ("", ""),
    )
