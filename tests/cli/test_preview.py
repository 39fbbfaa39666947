"""What a backfill says before it costs anything."""

from pathlib import Path

import pytest

from aidsafe_dagster.cli.preview import count_prompts, print_preview
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.lake.tables import to_frame
from aidsafe_dagster.recipe.records import Prompt, Stage, Usage
from aidsafe_dagster.recipe.stages import always_made
from aidsafe_dagster.reports.outlook import Outlook, make_outlook
from aidsafe_dagster.reports.planning import MeasuredSample, RowUsage
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.tables import INGESTED
from tests.builders import a_prompt
from tests.site import Site, a_site, aidsafe, prompts_file, some_prompts

NOTHING_MEASURED = Outlook(0, simulated=False, stages={})
PRICED = Settings.model_validate(
    {"endpoint": {"prices": {"input": 1.0, "output": 2.0, "currency": "EUR"}}}
)


def a_lake_of(folder: Path, **prompts: int) -> Lake:
    """Batches with so many prompts, none of them begun."""
    lake = Lake(folder / "lake")
    for batch, count in prompts.items():
        rows = [a_prompt(prompt_id=f"{number:016x}") for number in range(count)]
        lake.write(INGESTED, batch, to_frame(rows, Prompt))
    return lake


def measured(*, simulated: bool = False) -> Outlook:
    """Every prompt took two calls and EUR 0.20 at `seed_cots`, and as much at `refined_cots`."""
    usage = Usage(calls=2, prompt_tokens=1000, cached_tokens=400, cost=0.2)
    rows = [
        RowUsage(stage, "p", failed=False, usage=usage)
        for stage in ("seed_cots", "refined_cots")
    ]
    return make_outlook(MeasuredSample(prompts=1, rows=rows, simulated=simulated))


def preview(
    capsys: pytest.CaptureFixture[str],
    lake: Lake,
    todo: dict[str, tuple[str, ...]],
    outlook: Outlook,
) -> str:
    print_preview(lake, PRICED, todo, outlook)
    return " ".join(capsys.readouterr().out.split())


def test_batches_prompts_and_stages_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = a_lake_of(tmp_path, b1=3, b2=4, b3=1)
    everything = tuple(map(str, always_made()))
    todo = {"b1": everything, "b2": everything, "b3": ("seed_cots",)}
    text = preview(capsys, lake, todo, NOTHING_MEASURED)
    assert "To make: 3 batches, 8 prompts." in text
    assert f"b1, b2: all {len(always_made())} stages" in text
    assert f"b3: 1 of {len(always_made())} stages (seed_cots)" in text
    assert "What it costs cannot be told" in text


def test_calls_tokens_and_money_are_those_of_the_stages_to_make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = a_lake_of(tmp_path, b1=10)
    text = preview(capsys, lake, {"b1": ("seed_cots",)}, measured())
    assert "20 calls, 10.0k tokens in (4.0k cached)" in text
    assert "EUR 2.00" in text
    assert "the mean of the 1 prompt finished last" in text
    both = preview(capsys, lake, {"b1": ("seed_cots", "refined_cots")}, measured())
    assert "EUR 4.00" in both


def test_simulated_figures_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = a_lake_of(tmp_path, b1=1)
    text = preview(capsys, lake, {"b1": ("seed_cots",)}, measured(simulated=True))
    assert "all simulated" in text


def test_with_nothing_to_make_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preview(capsys, a_lake_of(tmp_path), {}, measured()) == ""


def test_a_batch_that_cannot_be_read_has_no_prompts_to_count(tmp_path: Path) -> None:
    lake = a_lake_of(tmp_path, b1=1)
    assert count_prompts(lake, "b1") == 1
    Path(str(lake.rows_path(INGESTED, "b1"))).write_bytes(b"no parquet")
    assert count_prompts(lake, "b1") == 0


def test_what_is_stale_is_told_by_name_before_it_is_made_again(tmp_path: Path) -> None:
    with a_site(tmp_path) as site:
        assert site.ingest(prompts_file(tmp_path, some_prompts(2))).success
        assert site.make("mine-0001").success
        changes = {
            "deliberation.max_rounds: 3 → 2": "[deliberation]\nmax_rounds = 2\n",
            "sampling.temperature: 0.7 → 0.1": "[sampling]\ntemperature = 0.1\n",
        }
        for name, lines in changes.items():
            assert name in said_before(site, lines)


def said_before(site: Site, lines: str) -> str:
    """Return what a backfill says, up to its question, with these lines in the settings."""
    file = site.folder / "aidsafe.toml"
    before = file.read_text()
    file.write_text(f"{before}\n{lines}")
    said = aidsafe(site.folder, "backfill").stdout
    file.write_text(before)
    assert f"{Stage.DELIBERATED_COTS}" in said
    return said.partition("✓")[0]
