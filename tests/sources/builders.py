"""Builders of what the tests of sources need: files with given rows, specs and prompts."""

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
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_csv(path: Path, rows: Iterable[Iterable[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_prompts(path: Path, *prompts: object) -> Path:
    return write_jsonl(path, ({"prompt": prompt} for prompt in prompts))


def a_source(path: Path, name: str = "team", **settings: Any) -> SourceSpec:
    return SourceSpec.model_validate({"name": name, "path": path, "licence": "MIT"} | settings)


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


def ingested(*specs: SourceSpec, known: tuple[Prompt, ...] = (), **settings: Any) -> Ingestion:
    return ingest(specs, known, IngestSettings(**settings), {})


def texts(ingestion: Ingestion) -> list[str]:
    return [prompt.prompt for batch in ingestion.batches.values() for prompt in batch]


def reasons(ingestion: Ingestion) -> list[tuple[str, str]]:
    return [(row.source_row, str(row.reason)) for row in ingestion.dropped]
