"""Builders for the tests of sources: files, source specs and prompts."""

import csv
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aidsafe_dagster.recipe.records import Prompt
from aidsafe_dagster.sources.duplicates import prompt_id
from aidsafe_dagster.sources.ingestion import Ingestion, ingest
from aidsafe_dagster.sources.settings import IngestSettings
from aidsafe_dagster.sources.source import SourceSpec


def write_jsonl(path: Path, rows: Iterable[Any]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    path.write_bytes(data)
    return path


def write_csv(path: Path, rows: Iterable[Iterable[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_prompts(path: Path, *prompts: object) -> Path:
    return write_jsonl(path, ({"prompt": prompt} for prompt in prompts))


def a_source(path: Path, name: str = "team", **settings: Any) -> SourceSpec:
    return SourceSpec.model_validate(
        {"name": name, "path": path, "licence": "MIT"} | settings
    )


def a_prompt(text: str, batch: str = "team-0001", source: str = "team") -> Prompt:
    return Prompt(
        prompt_id=prompt_id(text),
        batch=batch,
        source=source,
        source_row="old.csv row 1",
        category="",
        licence="MIT",
        prompt=text,
    )


def run_ingestion(
    *specs: SourceSpec, known: tuple[Prompt, ...] = (), **settings: Any
) -> Ingestion:
    return ingest(specs, known, IngestSettings(**settings), {})


def new_prompts(ingestion: Ingestion) -> list[Prompt]:
    prompts = list[Prompt]()
    for batch in ingestion.batches.values():
        prompts += batch
    return prompts


def texts(ingestion: Ingestion) -> list[str]:
    return [prompt.prompt for prompt in new_prompts(ingestion)]


def reasons(ingestion: Ingestion) -> list[tuple[str, str]]:
    return [(row.source_row, str(row.reason)) for row in ingestion.dropped]
