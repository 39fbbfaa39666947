"""First failures in a gate's message: a few, told apart, as plain text without secrets."""

import pytest

from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import Failure, FailureReason
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.stages.failure_lines import MOST_CHARS, failure_lines, plain_line
from tests.builders import a_failure


def lines_of(*failures: Failure, settings: Settings | None = None) -> list[str]:
    return failure_lines(to_frame(failures, Failure), settings or Settings())


def test_each_reason_is_told_before_a_second_failure_of_the_same_reason() -> None:
    many = [a_failure(prompt_id=f"p{n}", detail=f"not JSON {n}") for n in range(4)]
    busy = a_failure(
        prompt_id="p8", reason=FailureReason.ENGINE_ERROR, detail="HTTP 500"
    )
    assert lines_of(*many, busy) == [
        "p0 unparsable: not JSON 0",
        "p8 engine_error: HTTP 500",
        "p1 unparsable: not JSON 1",
    ]


def test_the_same_detail_is_told_once() -> None:
    same = [a_failure(prompt_id=f"p{n}") for n in range(5)]
    assert lines_of(*same) == ["p0 unparsable: not JSON"]


def test_rows_left_out_are_told_only_if_none_failed() -> None:
    left_out = a_failure(
        prompt_id="p1", reason=FailureReason.NO_CONTRAST, detail="alike"
    )
    assert lines_of(left_out, a_failure()) == ["p9 unparsable: not JSON"]
    assert lines_of(left_out) == ["p1 no_contrast: alike"]


def test_no_failure_gives_no_line() -> None:
    assert lines_of() == []


def test_a_detail_reaches_a_terminal_or_a_page_as_text_alone() -> None:
    detail = (
        "a\nb\r\x1b[31mred \u202eevil\u202c \u2066x\u2069 \u200f\u2028 "
        "<script> ![i](http://x.y) [l](http://x.y)"
    )
    (line,) = lines_of(a_failure(detail=detail))
    assert line == (
        "p9 unparsable: a b [31mred evil x ‹script› ![i] (http://x.y) [l] (http://x.y)"
    )


def test_a_long_detail_is_cut() -> None:
    (line,) = lines_of(a_failure(detail="word " * 100))
    assert len(line) <= MOST_CHARS
    assert line.endswith("…")
    assert plain_line("x" * MOST_CHARS, MOST_CHARS) == "x" * MOST_CHARS


def test_secrets_of_all_servers_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_KEY", "sk-fast")
    settings = Settings(servers={"fast": ServerSettings(api_key_env="FAST_KEY")})
    detail = "wrong key sk-fast at http://me:pw@host/v1?api_key=abc"
    (line,) = lines_of(a_failure(detail=detail), settings=settings)
    assert "sk-fast" not in line
    assert ":pw@" not in line
    assert "abc" not in line
