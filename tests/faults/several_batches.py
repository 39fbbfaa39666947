"""A site with several batches, and what comes of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.stages import always_made
from tests.faults.commands import served_by
from tests.serving import ModelServer
from tests.site import Site, a_site, prompts_file, some_prompts

BATCHES = ("mine-0001", "mine-0002", "mine-0003")
ROWS = 4


@dataclass(frozen=True)
class Backfill:
    texts: Mapping[tuple[str, str], Any]
    """By stage and batch, without the columns that differ between runs."""
    calls: int


@contextmanager
def several_batches(folder: Path, server: ModelServer) -> Iterator[Site]:
    with a_site(folder, ingest={"batch_size": ROWS}, **served_by(server)) as site:
        site.ingest(prompts_file(folder, some_prompts(ROWS * len(BATCHES))))
        yield site


def texts_of(site: Site) -> dict[tuple[str, str], Any]:
    texts = dict[tuple[str, str], Any]()
    for stage in always_made():
        for batch in site.lake.batches(stage):
            rows = site.lake.rows(stage, batch)
            texts[stage, batch] = rows.drop(
                "usage", "conversation", strict=False
            ).rows()
    return texts
