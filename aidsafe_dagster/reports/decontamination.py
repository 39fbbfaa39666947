"""The decontamination report: every removed row, the evaluation prompt it matched, and the rule."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from pydantic import Field

from aidsafe_dagster.recipe.records import FailureReason, Record
from aidsafe_dagster.reports.sections import Section, Table, format_count, format_number
from aidsafe_dagster.sources.contamination import Rule, read_match
from aidsafe_dagster.sources.evaluation_sets import CheckedSet
from aidsafe_dagster.sources.settings import DecontaminationSettings

_KINDS = ("sft", "dpo")
_SET_COLUMNS = (
    "set",
    "from",
    "revision",
    "hash",
    "checked in",
    "prompts",
    "rows without a prompt",
    "batches",
)
_REMOVED_COLUMNS = (
    "prompt",
    "batch",
    "source",
    "stage",
    "set",
    "row",
    "rule",
    "matched",
    "score",
)


class RemovedRow(Record):
    """One row that was removed because it matched an evaluation prompt."""

    prompt_id: str
    batch: str
    source: str
    stage: str
    kind: str = Field(
        description="sft or dpo; empty where the prompt itself was removed"
    )
    set: str
    row: str = Field(description="place in the evaluation set")
    rule: Rule
    score: float
    text: str = Field(description="the evaluation prompt, cut to 160 characters")


def removed_rows(
    failures: pl.DataFrame, sources: Mapping[str, str]
) -> list[RemovedRow]:
    """Return the rows that were removed as contaminated.

    Args:
        failures: rows of `Failure`, of all reasons.
        sources: prompt id → name of its source.
    """
    contaminated = failures.filter(reason=str(FailureReason.CONTAMINATED))
    columns = contaminated.select("prompt_id", "batch", "stage", "detail")
    removed = []
    for prompt_id, batch, stage, detail in columns.iter_rows():
        # The splits put the kind of row before the match; other stages have no kinds.
        kind = _parse_kind(detail)
        match = read_match(detail.removeprefix(f"{kind}: "))
        removed.append(
            RemovedRow(
                prompt_id=prompt_id,
                batch=batch,
                source=sources.get(prompt_id, ""),
                stage=stage,
                kind=kind,
                **match.model_dump(),
            )
        )
    return removed


def _parse_kind(detail: str) -> str:
    for kind in _KINDS:
        if detail.startswith(f"{kind}: "):
            return kind
    return ""


def decontamination_sections(
    removed: Sequence[RemovedRow],
    checked: Sequence[CheckedSet],
    settings: DecontaminationSettings,
) -> list[Section]:
    return [
        Section("Removed rows", tables=[counts_by_set(removed, checked)]),
        Section("Evaluation sets", tables=[evaluation_sets(checked)]),
        Section("Rules in force", tables=[_threshold_table(settings)]),
        Section("Every removed row", tables=[removed_table(removed)]),
    ]


def counts_by_set(
    removed: Sequence[RemovedRow], checked: Sequence[CheckedSet]
) -> Table:
    """Count removed rows by evaluation set and rule. Sets without a match have a row too."""
    counts: Counter[tuple[str, Rule]] = Counter()
    # A set may be gone from the settings while rows that it removed are still in the lake.
    sets = {row.set for row in checked}
    for row in removed:
        counts[row.set, row.rule] += 1
        sets.add(row.set)
    rows = []
    for name in sorted(sets):
        cells = [format_count(counts[name, rule]) for rule in Rule]
        rows.append((name, *cells))
    return Table(
        "Rows by set and rule",
        ("set", *map(str, Rule)),
        tuple(rows),
    )


def evaluation_sets(checked: Iterable[CheckedSet]) -> Table:
    """List the evaluation sets, with the number of batches checked against each."""
    batches: Counter[tuple[str, str, str, str, str, int, int]] = Counter()
    for row in checked:
        # A set whose content has changed since is another set, with a line of its own.
        identity = (
            row.set,
            row.origin,
            row.revision,
            row.content,
            row.stage,
        )
        batches[*identity, row.prompts, row.skipped] += 1
    rows = []
    for (*identity_cells, prompts, skipped), n in sorted(batches.items()):
        counts = (
            format_count(prompts),
            format_count(skipped),
            format_count(n),
        )
        rows.append((*map(str, identity_cells), *counts))
    return Table(
        "What was read",
        _SET_COLUMNS,
        tuple(rows),
        text_columns=5,
    )


def removed_table(removed: Iterable[RemovedRow]) -> Table:
    """List the removed rows with what they matched."""
    rows = tuple(map(_removed_row, removed))
    return Table("Rows", _REMOVED_COLUMNS, rows, text_columns=8)


def _removed_row(row: RemovedRow) -> tuple[str, ...]:
    stage = f"{row.stage} {row.kind}".strip()
    match = (
        row.set,
        row.row,
        str(row.rule),
        row.text,
        format_number(row.score, 3),
    )
    return row.prompt_id, row.batch, row.source, stage, *match


def _threshold_table(settings: DecontaminationSettings) -> Table:
    jaccard, tfidf = settings.jaccard_threshold, settings.tfidf_threshold
    embedding = settings.embedding_threshold
    contained = "an evaluation prompt of at least three words, inside a longer prompt"
    ngram = f"{settings.ngram_words} consecutive words that both have"
    shingles = f"a Jaccard similarity of 3-word shingles of at least {jaccard:g}"
    vectors = f"a cosine of embeddings of at least {embedding:g}, if a model is set"
    # In the order in which the rules are tried.
    definitions = {
        Rule.EXACT: "the same words in the same order",
        Rule.CONTAINED: contained,
        Rule.NGRAM: ngram,
        Rule.JACCARD: shingles,
        Rule.TFIDF: f"a cosine of TF-IDF weights of at least {tfidf:g}",
        Rule.EMBEDDING: vectors,
    }
    rows = [(str(rule), definition) for rule, definition in definitions.items()]
    return Table("Thresholds", ("rule", "a match is"), tuple(rows), text_columns=2)
