"""Runs a batch through the recipe with the added stage, in the current folder's site; prints
JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.settings.launchpad import configured_in_shell
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.stages.checks import stage_checks
from aidsafe_dagster.stages.gates import read_gate
from tests.stages.added_stage import GISTS, gists

BATCH = "mine-0001"


def main(prompts_file: str) -> None:
    # After the stage is in the table: the job `make_batch` takes every stage that is there.
    from aidsafe_dagster.definitions import defs

    added = dg.Definitions(assets=[gists], asset_checks=stage_checks(GISTS))
    definitions = dg.Definitions.merge(defs, added)
    with dg.DagsterInstance.from_config(str(Path.cwd())) as instance:
        source = {"name": "mine", "path": prompts_file}
        run(
            definitions,
            instance,
            "ingest_sources",
            {"ingest_prompts": {"sources": [source]}},
        )
        run(definitions, instance, "make_batch", partition=BATCH)
        print(json.dumps(report(instance)))


def run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    config: dict[str, Any] | None = None,
    partition: str | None = None,
) -> None:
    ops = {name: {"config": values} for name, values in (config or {}).items()}
    with configured_in_shell():
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=partition, run_config={"ops": ops}
        )
    assert result.success


def report(instance: dg.DagsterInstance) -> dict[str, Any]:
    lake = Lake(load_settings().settings.lake)
    records_filter = dg.AssetRecordsFilter(dg.AssetKey(GISTS), asset_partitions=[BATCH])
    event = instance.fetch_materializations(records_filter, limit=1).records[0]
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    return {
        "gate": str(read_gate(instance, lake, GISTS, BATCH)),
        "rows": lake.rows(GISTS, BATCH).select("prompt", "gist").rows(),
        "failures": lake.failures(GISTS, BATCH).select("reason", "detail").rows(),
        "refined": lake.rows("refined_cots", BATCH).height,
        "read_ahead": metadata["calls_replayed"].value,
        "transcript": metadata["transcript_1"].value,
    }


if __name__ == "__main__":
    main(sys.argv[1])
