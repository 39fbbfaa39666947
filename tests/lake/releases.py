"""Lakes and journals as releases have left them: tests/lake/released/<day>/.

Each was made by the code of its day with the rehearsal engine, from the same three prompts. The
journals hold the calls of the refiner alone.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from aidsafe_dagster.lake.earlier_layouts import LAYOUT, LAYOUT_KEY
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.stages import STAGES, always_made
from tests.site import Site, a_site

RELEASED = Path(__file__).parent / "released"
FIRST, *_, NEWEST = LAYOUTS = sorted(folder.name for folder in RELEASED.iterdir())
BATCH = "prompts-0001"
LOCK, SKY, PHISHING = "34e1eda15758477f", "a8ba3fa45b492afd", "23d061976c533a6b"

each_layout = pytest.mark.parametrize("layout", LAYOUTS)


@contextmanager
def a_site_of(layout: str, folder: Path, *, later: bool = False) -> Iterator[Site]:
    """Open a site whose lake and journal an earlier release left, with all gates open.

    Args:
        layout: the day of that release.
        folder: of the site.
        later: the lake looks as if a release that is yet to come had written it.
    """
    with a_site(folder, publish={"licence": "mit"}) as site:
        shutil.copytree(RELEASED / layout / "lake", folder / "data" / "lake")
        journal = folder / "data" / "journal.sqlite"
        shutil.copyfile(RELEASED / layout / "journal.sqlite", journal)
        site.instance.add_dynamic_partitions("batches", [BATCH])
        if later:
            for stage in always_made():
                as_a_later_release(site.lake, str(stage))
        _open_gates(site)
        yield site


def as_a_later_release(lake: Lake, table: str) -> Path:
    """Rewrite a partition as a release with a column that nobody here knows would have."""
    file = Path(str(lake.rows_path(table, BATCH)))
    rows = pl.read_parquet(file).with_columns(hue=pl.lit("blue"))
    rows.write_parquet(file, metadata={LAYOUT_KEY: str(LAYOUT + 1)})
    return file


def _open_gates(site: Site) -> None:
    """Record that the checks passed, as the release did in its instance."""
    for stage, definition in STAGES.items():
        if not site.lake.has(stage, BATCH):
            continue
        fingerprint = site.lake.fingerprint(stage, BATCH)
        for suite in definition.suites:
            passed = dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(str(stage)),
                check_name=suite,
                passed=True,
                metadata={"fingerprint": dg.MetadataValue.text(fingerprint)},
                partition=BATCH,
            )
            site.instance.report_runless_asset_event(passed)
