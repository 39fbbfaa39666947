"""Expectations run with the real library, in memory, and none passes because values are missing."""

import logging
import socket
from pathlib import Path
from typing import NoReturn

import polars as pl
import pytest

from aidsafe_dagster.quality.expectations import (
    Expectation,
    SuiteResult,
    between,
    equal,
    fact,
    run_suite,
    unique,
)


def failed(result: SuiteResult) -> set[str]:
    return {outcome.name for outcome in result.expectations if not outcome.passed}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 5, 9], set()),
        ([0, 5, 10], {"tokens"}),
        ([1, None, 9], {"tokens present"}),
        ([None, None, None], {"tokens present"}),
    ],
)
def test_bounds_are_inclusive_and_nulls_fail(
    values: list[int | None], names: set[str]
) -> None:
    table = pl.DataFrame(
        {"prompt_id": ["p1", "p2", "p3"], "tokens": pl.Series(values, dtype=pl.Int64)}
    )
    assert (
        failed(run_suite("bounds", between("tokens", 1, 9), {"rows": table})) == names
    )


def test_a_share_of_the_rows_can_suffice() -> None:
    table = pl.DataFrame(
        {"prompt_id": ["p1", "p2", "p3", "p4"], "tokens": [1, 2, 3, 99]}
    )
    assert run_suite(
        "mostly", between("tokens", 1, 9, mostly=0.75), {"rows": table}
    ).passed
    assert not run_suite(
        "mostly", between("tokens", 1, 9, mostly=0.8), {"rows": table}
    ).passed


def test_an_unknown_fact_fails() -> None:
    known = pl.DataFrame({"lost": [0]})
    assert run_suite("facts", [fact("lost", 0, 0)], {"summary": known}).passed
    unknown = run_suite(
        "facts",
        [fact("lost", 0, 0)],
        {"summary": known.with_columns(lost=pl.lit(None, dtype=pl.Int64))},
    )
    assert (failed(unknown), unknown.expectations[0].observed) == ({"lost"}, "unknown")


def test_only_blocking_expectations_close_a_suite() -> None:
    table = pl.DataFrame({"prompt_id": ["p1", "p1"], "flag": [True, False]})
    noted = run_suite(
        "flags", equal("flag", value=True, blocking=False), {"rows": table}
    )
    assert (noted.passed, failed(noted)) == (True, {"flag"})
    closed = run_suite(
        "flags",
        [*equal("flag", value=True, blocking=False), *unique("prompt_id")],
        {"rows": table},
    )
    assert (closed.passed, failed(closed)) == (False, {"flag", "prompt_id unique"})


def test_an_expectation_that_cannot_be_evaluated_fails() -> None:
    table = pl.DataFrame({"prompt_id": ["p1"], "word": ["a"]})
    result = run_suite("broken", between("word", 1, 2), {"rows": table})
    assert failed(result) == {"word"}
    assert result.expectations[1].observed == "not evaluated"
    missing = Expectation(
        "gone", "rows", "ExpectColumnValuesToNotBeNull", {"column": "gone"}, "no nulls"
    )
    assert failed(run_suite("broken", [missing], {"rows": table})) == {"gone"}


def test_a_run_writes_no_file_prints_nothing_and_opens_no_connection(
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
        assert run_suite("quiet", between("tokens", 1, 9), {"rows": table}).passed
    assert list(tmp_path.iterdir()) == []
    assert calls == []
    assert caplog.messages == []
    assert tuple(capfd.readouterr()) == ("", "")
