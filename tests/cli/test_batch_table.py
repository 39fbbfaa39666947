"""What `aidsafe status` shows of each batch: rows, gates, what is stale, and what is held up."""

import io
from pathlib import Path

from rich.console import Console, RenderableType

from aidsafe_dagster.cli.batch_table import batch_table
from aidsafe_dagster.cli.held_batches import held_batches
from aidsafe_dagster.cli.recorded_gates import GateReader
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import Prompt, RefinedCot
from aidsafe_dagster.sources.tables import INGESTED
from aidsafe_dagster.stages.gate_verdicts import Gate
from tests.builders import a_failure, a_prompt, a_refined_cot, a_seed_cot
from tests.reports.builders import a_lake
from tests.site import a_site, aidsafe, prompts_file, some_prompts

LONG = "customer_conversations_from_the_support-0001"


def closed_at(*stages: str) -> GateReader:
    def read_gate(stage: str, batch: str) -> Gate:
        if stage in stages:
            return Gate(stage, batch, {"integrity": "failed"})
        return Gate(stage, batch, {"integrity": "passed"})

    return read_gate


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def a_lake_of(folder: Path, *batches: str) -> Lake:
    """Batches whose prompts and seeds are made, with one seed that failed."""
    for batch in batches:
        prompts = [a_prompt(batch=batch)]
        lake = a_lake(
            folder,
            batch,
            failures=[a_failure(stage="seed_cots", reason="unparsable", batch=batch)],
            prompts=prompts,
            seed_cots=[a_seed_cot(batch=batch)],
        )
        lake.write(INGESTED, batch, to_frame(prompts, Prompt))
    return lake


def test_a_long_key_is_whole_on_a_line_of_its_own_at_80_columns(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path, LONG, "b-0001")
    lines = shown(batch_table(closed_at(), lake)).splitlines()
    assert LONG in lines
    cells = lines[lines.index(LONG) + 1].split()
    assert cells == ["1●", "–", "1✗1●", "–", "–", "–", "–", "–"]
    assert max(map(len, lines)) <= 80


def test_a_short_key_stands_beside_its_cells(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path, "b-0001")
    page = shown(batch_table(closed_at(), lake))
    assert "b-0001 1●" in page


def test_what_a_closed_gate_holds_up_is_marked_and_named(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path, "b-0001")
    lake.write("refined_cots", "b-0001", to_frame([a_refined_cot()], RefinedCot))
    read_gate = closed_at("seed_cots")
    page = shown(batch_table(read_gate, lake))
    # The baseline rests on prompts alone, and nothing keeps it from being made.
    assert "b-0001 1●      –       1✗1○  ⊘       1●⊘" in page
    assert "⊘ behind a closed gate" in page
    text = " ".join(shown(held_batches(read_gate, lake)).split())
    assert "seed_cots b-0001: integrity failed" in text
    assert "1 of 2 rows passed; failed: 1 unparsable" in text
    assert "not made: deliberated_cots, cot_grades" in text
    assert "made earlier and not to be used: refined_cots (1 row)" in text


def test_with_open_gates_nothing_is_held_up(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path, "b-0001")
    assert not held_batches(closed_at(), lake)
    assert "⊘" not in shown(batch_table(closed_at(), lake))


def test_a_batch_whose_first_stage_failed_says_why_its_run_stopped(
    tmp_path: Path,
) -> None:
    policies = tmp_path / "rules"
    policies.mkdir()
    (policies / "mine.toml").write_text("title = nothing\n")
    with a_site(tmp_path / "site", policies=str(policies)) as site:
        assert site.ingest(prompts_file(site.folder, some_prompts(2))).success
        assert not site.make("mine-0001").success
        status = aidsafe(site.folder, "status")
        page = " ".join(status.stdout.split())
        assert "mine-0001 at prompts" in page
        assert "mine.toml, line 1: not a TOML file" in page
        assert "1 | title = nothing" in page
