"""The decontamination report: every row that was removed, with the evaluation prompt it matched and the rule."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from pydantic import Field

from aidsafe_dagster.recipe.records import FailureReason, Record
from aidsafe_dagster.reports.sections import Section, Table, count, figure
from aidsafe_dagster.sources.contamination import Rule, read_match
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from aidsafe_dagster.sources.settings import DecontaminationSettings

_KINDS = ("sft", "dpo")


class RemovedRow(Record):
    prompt_id: str
    batch: str
    source: str
    stage: str
    kind: str = Field(description="sft or dpo; empty where the prompt itself was removed")
    set: str
    row: str = Field(description="place in the evaluation set")
    rule: Rule
    score: float
    text: str = Field(description="the evaluation prompt, cut to 160 characters")


def removed_rows(failures: pl.DataFrame, sources: Mapping[str, str]) -> list[RemovedRow]:
    """From `Failure` rows, those of contaminated ones. `sources` names the source of each prompt id."""
    found = failures.filter(reason=str(FailureReason.CONTAMINATED)).select(
        "prompt_id", "batch", "stage", "detail"
    )
    return [
        RemovedRow(
            prompt_id=prompt_id,
            batch=batch,
            source=sources.get(prompt_id, ""),
            stage=stage,
            kind=_kind(detail),
            **read_match(detail.removeprefix(f"{_kind(detail)}: ")).model_dump(),
        )
        for prompt_id, batch, stage, detail in found.iter_rows()
    ]


def _kind(detail: str) -> str:
    return next((kind for kind in _KINDS if detail.startswith(f"{kind}: ")), "")


def decontamination_sections(
    removed: Sequence[RemovedRow], checked: Sequence[CheckedSet], settings: DecontaminationSettings
) -> list[Section]:
    return [
        Section("Removed rows", tables=[by_set_and_rule(removed, checked)]),
        Section("Evaluation sets", tables=[evaluation_sets(checked)]),
        Section("Rules in force", tables=[_rules(settings)]),
        Section("Every removed row", tables=[removed_table(removed)]),
    ]


def by_set_and_rule(removed: Sequence[RemovedRow], checked: Sequence[CheckedSet]) -> Table:
    """A line per set, also for one in which nothing was found."""
    counts = Counter((row.set, row.rule) for row in removed)
    sets = sorted({row.set for row in removed} | {row.set for row in checked})
    lines = [(name, *(count(counts[name, rule]) for rule in Rule)) for name in sets]
    return Table("Rows by set and rule", ("set", *map(str, Rule)), tuple(lines))


def evaluation_sets(checked: Iterable[CheckedSet]) -> Table:
    """Which contents of which sets the batches were checked against."""
    batches = Counter(
        (c.set, c.origin, c.revision, c.content, c.stage, c.prompts, c.skipped) for c in checked
    )
    lines = [
        (*place[:5], count(place[5]), count(place[6]), count(n))
        for place, n in sorted(batches.items())
    ]
    columns = (
        "set",
        "from",
        "revision",
        "hash",
        "checked in",
        "prompts",
        "rows without a prompt",
        "batches",
    )
    return Table("What was read", columns, tuple(lines), words=5)


def removed_table(removed: Iterable[RemovedRow]) -> Table:
    columns = ("prompt", "batch", "source", "stage", "set", "row", "rule", "matched", "score")
    return Table("Rows", columns, tuple(map(_line, removed)), words=8)


def _line(row: RemovedRow) -> tuple[str, ...]:
    stage = f"{row.stage} {row.kind}".strip()
    match = (row.set, row.row, str(row.rule), row.text, figure(row.score, 3))
    return row.prompt_id, row.batch, row.source, stage, *match


def _rules(settings: DecontaminationSettings) -> Table:
    limits = {
        Rule.EXACT: "the same words in the same order",
        Rule.CONTAINED: "the whole evaluation prompt, three words or more, inside a longer one",
        Rule.NGRAM: f"{settings.ngram_words} words in a row that they share",
        Rule.JACCARD: f"Jaccard similarity of 3-word shingles of {settings.jaccard_threshold:g} or more",
        Rule.TFIDF: f"cosine of TF-IDF weights of {settings.tfidf_threshold:g} or more",
        Rule.EMBEDDING: f"cosine of embeddings of {settings.embedding_threshold:g} or more, where a model is set",
    }
    lines = tuple((str(rule), limit) for rule, limit in limits.items())
    return Table("Thresholds", ("rule", "a match is"), lines, words=2)
