"""What `aidsafe status` says of calls, money and models."""

import io
from pathlib import Path

from rich.console import Console

from aidsafe_dagster.cli.overview import summary
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.records import Usage
from aidsafe_dagster.stages.gate_verdicts import Gate
from tests.builders import a_failure, a_refined_cot, a_seed_cot
from tests.reports.builders import a_lake, make_older

USED = Usage(
    calls=2,
    prompt_tokens=1000,
    cached_tokens=400,
    completion_tokens=300,
    reasoning_tokens=100,
    cost=0.25,
)
LOST = Usage(calls=6, prompt_tokens=3000, completion_tokens=600, cost=1.0)


def open_gate(stage: str, batch: str) -> Gate:
    return Gate(stage, batch, {"integrity": "passed"})


def printed(lake: Lake, currency: str = "") -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(summary(open_gate, lake, currency))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_of(page: str, *words: str) -> list[str]:
    """Return the cells of the last line that begins with a word and has the others."""
    for line in reversed(page.splitlines()):
        cells = line.split()
        if cells[:1] == [words[0]] and all(word in cells for word in words):
            return cells
    raise AssertionError(f"no line with {words}:\n{page}")


def test_failed_rows_count_and_cached_and_reasoning_tokens_stand_apart(
    tmp_path: Path,
) -> None:
    lake = a_lake(
        tmp_path, failures=[a_failure(usage=LOST)], seed_cots=[a_seed_cot(usage=USED)]
    )
    page = printed(lake, "EUR")
    assert line_of(page, "seed_cots", "8") == [
        "seed_cots", "8", "4.0k", "400", "900", "100", "1.25",
    ]  # fmt: skip
    assert "EUR" in page
    assert max(map(len, page.splitlines())) <= 80


def test_without_prices_and_costs_there_is_no_column_of_money(tmp_path: Path) -> None:
    free = USED.model_copy(update={"cost": 0.0})
    page = printed(a_lake(tmp_path, seed_cots=[a_seed_cot(usage=free)]))
    assert line_of(page, "together", "2")[-1] == "100"


def test_batches_name_the_model_the_server_and_its_profile(tmp_path: Path) -> None:
    servers = ("fast (openai-reasoning)",)
    for number in range(1, 6):
        batch = f"demo-000{number}"
        lake = a_lake(
            tmp_path,
            batch,
            seed_cots=[a_seed_cot(batch=batch, servers=servers)],
            refined_cots=[
                a_refined_cot(batch=batch, model="large", servers=("endpoint",))
            ],
        )
    make_older(lake, "demo-0005")
    page = printed(lake)
    cells = line_of(page, "small-chat", "fast")
    assert cells[1:] == [
        "fast",
        "(openai-reasoning)",
        "demo-0001",
        "…",
        "demo-0004",
        "(4)",
    ]
    assert line_of(page, "large", "endpoint")[-1] == "(4)"
    assert line_of(page, "small-chat", "·")[1:] == ["·", "demo-0005"]


def test_a_server_s_password_is_masked(tmp_path: Path) -> None:
    servers = ("http://me:pw@host/v1",)
    page = printed(a_lake(tmp_path, seed_cots=[a_seed_cot(servers=servers)]))
    assert "pw@" not in page
    assert "me:***@host" in page
