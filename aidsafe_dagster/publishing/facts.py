"""Facts for the dataset card, counted in the lake over the prompts of a release.

A `published` frame has one line per fine-tune row, with prompt_id, kind, split, prompt_kind, source
and licence.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import get_args

import polars as pl

from aidsafe_dagster.lake.batch_recipes import read_recipes
from aidsafe_dagster.lake.split_inputs import read_split_inputs
from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.quality.coverage import policy_coverage
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.batch_recipe import shortened
from aidsafe_dagster.recipe.card import (
    BatchFacts,
    CountFacts,
    CoverageFacts,
    EvaluationSetFacts,
    FloorFacts,
    GenerationFacts,
    LeftOutFacts,
    MetricFacts,
    ModelFacts,
    QualityFacts,
    SourceFacts,
)
from aidsafe_dagster.recipe.fine_tune_splits import ScoreGate
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import (
    FOUND,
    METRICS,
    Metric,
    PromptKind,
    RefinedCot,
    Stage,
)
from aidsafe_dagster.recipe.stages import STAGES
from aidsafe_dagster.recipe.transcript import refined_transcript
from aidsafe_dagster.reports.decontamination import removed_rows
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.generations import (
    count_by_adapter,
    stages_with_adapters,
)
from aidsafe_dagster.reports.grades import (
    VersionScores,
    grade_rows,
    score_versions,
    self_judging,
)
from aidsafe_dagster.sources.evaluation_sets import CheckedSet

_CHECKED = "evaluation_sets"
# Fixed, so that the same rows give the same card.
_SEED, _RESAMPLES = 0, 2000
_PRIVATE: dict[str, object] = {"servers": (), "reasoning": ()}
"""What the published example does not show: addresses, and thoughts meant for nobody."""


def source_facts(published: pl.DataFrame) -> tuple[SourceFacts, ...]:
    """Count the rows by source and licence."""
    counts = Counter(published.select("source", "licence", "kind").iter_rows())
    origins = sorted({(source, licence) for source, licence, _ in counts})
    return tuple(
        SourceFacts(
            source=source,
            licence=licence,
            sft=counts[source, licence, "sft"],
            dpo=counts[source, licence, "dpo"],
        )
        for source, licence in origins
    )


def model_facts(dataset: Dataset, published: pl.DataFrame) -> tuple[ModelFacts, ...]:
    """List the engines, models and template versions behind each stage."""
    facts = []
    for stage, definition in STAGES.items():
        # No model is behind such a stage.
        if definition.dialogue is None:
            continue
        rows = _published_rows(
            dataset, published, stage, "engine", "model", "servers", "templates_version"
        )
        counts: Counter[tuple[str, str, str, str]] = Counter()
        for _, engine, model, servers, version in rows.iter_rows():
            counts[engine, model, _server_names(servers), version] += 1
        for (engine, model, server, version), count in sorted(counts.items()):
            facts.append(
                ModelFacts(
                    stage=stage,
                    roles=definition.speakers,
                    engine=engine,
                    model=model,
                    server=server,
                    templates_version=version,
                    rows=count,
                )
            )
    return tuple(facts)


def generation_facts(
    dataset: Dataset, published: pl.DataFrame
) -> tuple[GenerationFacts, ...]:
    """Count rows by stage, generation and adapter; nothing for a first generation."""
    facts = []
    for stage in stages_with_adapters():
        rows = _published_rows(dataset, published, stage, "generation", "adapters")
        for (number, adapters), count in sorted(count_by_adapter(rows).items()):
            facts.append(
                GenerationFacts(
                    stage=stage, generation=number, adapters=adapters, rows=count
                )
            )
    is_first = all(one.generation == 1 for one in facts)
    return () if is_first else tuple(facts)


def policies_versions(
    dataset: Dataset, published: pl.DataFrame
) -> tuple[CountFacts, ...]:
    """Count the prompts by policies version."""
    rows = _published_rows(dataset, published, Stage.REFINED_COTS, "policies_version")
    return _count_values(rows["policies_version"])


def coverage_facts(
    dataset: Dataset, published: pl.DataFrame, policies: Policies
) -> tuple[CoverageFacts, ...]:
    """Count per policy the prompts to which it applies, and those whose final thoughts cite it."""
    rows = _published_rows(
        dataset, published, Stage.REFINED_COTS, "applicable_policies", "thoughts"
    )
    return tuple(
        CoverageFacts(
            policy=line["policy"],
            title=line["title"],
            applicable=line["applicable_rows"],
            citing=line["citing_rows"],
        )
        for line in policy_coverage(rows, policies).iter_rows(named=True)
    )


def prompt_kinds(published: pl.DataFrame) -> tuple[CountFacts, ...]:
    """Count the prompts by kind."""
    prompts = published.select("prompt_id", "prompt_kind").unique()
    counts = Counter(prompts["prompt_kind"].to_list())
    facts = []
    # From benign to harmful, and not by frequency.
    for kind in get_args(PromptKind):
        if counts[kind]:
            facts.append(CountFacts(what=kind, rows=counts[kind]))
    return tuple(facts)


def ways_made(published: pl.DataFrame) -> tuple[CountFacts, ...]:
    """Count the prompts by how they were made; nothing if all of them were found."""
    prompts = published.select("prompt_id", "how_made").unique()
    counts = _count_values(prompts["how_made"])
    is_all_found = all(one.what == FOUND for one in counts)
    return () if is_all_found else counts


def pair_kinds(dataset: Dataset, published: pl.DataFrame) -> tuple[CountFacts, ...]:
    """Count the preference pairs by kind."""
    # A pair that the splits left out is in the stage, but not in the release.
    published_pairs = published.filter(kind="dpo")
    rows = _published_rows(dataset, published_pairs, Stage.PREFERENCE_PAIRS, "kind")
    return _count_values(rows["kind"])


def length_ratio(dataset: Dataset, published: pl.DataFrame) -> float | None:
    """Return the median of chosen by rejected tokens over the pairs; None without pairs."""
    rows = _published_rows(
        dataset,
        published.filter(kind="dpo"),
        Stage.PREFERENCE_PAIRS,
        "length_ratio",
    )
    ratios = rows["length_ratio"].drop_nulls().to_list()
    return round(median(ratios), 2) if ratios else None


def quality_facts(dataset: Dataset, published: pl.DataFrame) -> QualityFacts | None:
    """Average the scores by version over the prompts with a grade for every version.

    Returns:
        None if no row was graded.
    """
    prompts = published.select("prompt_id").unique()
    grades = grade_rows(dataset).join(prompts, on="prompt_id", how="semi")
    scores = score_versions(grades, _SEED, _RESAMPLES)
    if not scores.versions:
        return None
    judges = sorted(set(grades.select("judge", "model").iter_rows()))
    self_judged = self_judging(dataset, grades)
    return QualityFacts(
        judges=tuple(_judge_name(judge, model) for judge, model in judges),
        self_judged=tuple(judging.model for judging in self_judged),
        prompts=scores.n,
        versions=tuple(scores.versions),
        metrics=tuple(_metric_facts(scores, metric) for metric in METRICS),
    )


def floor_facts(dataset: Dataset) -> tuple[FloorFacts, ...]:
    """List the floors that the batches were made under, those of the most batches first."""
    counts: Counter[str] = Counter()
    for batch in sorted(dataset.batches):
        inputs = read_split_inputs(dataset.lake, batch)
        # Batches of an older release do not say.
        if inputs is not None:
            counts[_describe_floors(inputs.score_gate)] += 1
    ordered = sorted(counts, key=lambda floors: (-counts[floors], floors))
    return tuple(
        FloorFacts(floors=floors, batches=counts[floors]) for floors in ordered
    )


def _describe_floors(gate: ScoreGate) -> str:
    floors = []
    for metric, floor in gate.floors.items():
        name = metric.replace("_", " ")
        floors.append(f"{name} {floor:g}")
    return ", ".join(floors)


def mixed_batches(dataset: Dataset) -> tuple[BatchFacts, ...]:
    """List the batches of a mixed recipe, with their rows and what differs."""
    facts = []
    for batch in sorted(dataset.batches):
        recipe = read_recipes(dataset.lake, batch).get(Stage.FINE_TUNE_SPLITS)
        if recipe is None or not recipe.mixed_with:
            continue
        rows = dataset.lake.rows(Stage.FINE_TUNE_SPLITS, batch, ["mixed_with"])
        mixed = rows.filter(pl.col("mixed_with").list.len() > 0).height
        others = []
        for other in recipe.mixed_with:
            others.append(f"{other.stage} ({shortened(other.changes)})")
        why = f"{mixed:,} of its {rows.height:,} rows rest on {', '.join(others)}"
        facts.append(BatchFacts(batch=batch, why=why))
    return tuple(facts)


def example(dataset: Dataset, published: pl.DataFrame) -> str:
    """Render a benign row of the train split as Markdown; empty if there is none.

    It is the shortest such row of the first batch that has one.
    """
    benign = published.filter(kind="sft", split="train", prompt_kind="benign")
    ids = benign["prompt_id"].to_list()
    # Whole rows are large, so no more batches are read than necessary.
    for batch in sorted(dataset.batches):
        rows = dataset.lake.rows(Stage.REFINED_COTS, batch)
        rows = rows.filter(pl.col("prompt_id").is_in(ids))
        if rows.height:
            refined = from_frame(rows, RefinedCot)
            pages = [
                refined_transcript(row.model_copy(update=_PRIVATE)) for row in refined
            ]
            # The text breaks ties, so that the same rows give the same card.
            return min(pages, key=lambda page: (len(page), page))
    return ""


def left_out(dataset: Dataset) -> tuple[LeftOutFacts, ...]:
    """Count the failed rows by stage and reason, in the order of the recipe."""
    counts = Counter(dataset.failures.select("stage", "reason").iter_rows())
    positions = {str(stage): position for position, stage in enumerate(Stage)}

    def recipe_order(key: tuple[str, str]) -> tuple[int, str]:
        stage, reason = key
        return positions[stage], reason

    return tuple(
        LeftOutFacts(
            stage=stage,
            reason=reason,
            rows=counts[stage, reason],
        )
        for stage, reason in sorted(counts, key=recipe_order)
    )


def evaluation_sets(dataset: Dataset) -> tuple[EvaluationSetFacts, ...]:
    """List the sets that the batches were checked against, and the prompts removed for each."""
    checks = _read_checks(dataset)
    # A prompt may fail once per kind of fine-tune row, and counts once.
    removals = removed_rows(dataset.failures, {})
    matches = {(row.set, row.prompt_id) for row in removals}
    removed = Counter(name for name, _ in matches)
    versions = {
        (check.set, check.origin, check.revision, check.prompts, check.content)
        for check in checks
    }
    facts = []
    for name, origin, revision, prompts, content in sorted(versions):
        # A batch is checked several times, once per stage that asks for it.
        batches = set[str]()
        for check in checks:
            if (check.set, check.content) == (name, content):
                batches.add(check.batch)
        # The folder of a local file is nobody else's business.
        public_origin = origin if revision else Path(origin).name
        facts.append(
            EvaluationSetFacts(
                set=name,
                origin=public_origin,
                revision=revision,
                prompts=prompts,
                batches=len(batches),
                removed=removed[name],
            )
        )
    return tuple(facts)


def _server_names(servers: Sequence[str] | None) -> str:
    """Return the names of servers. Rows of an older release do not name any."""
    names = []
    for server in servers or ():
        # A role's server without a name goes by its address, which is nobody else's business.
        names.append("a server by address" if "://" in server else server)
    return ", ".join(dict.fromkeys(names))


def _judge_name(judge: str, model: str) -> str:
    return f"{judge.replace('_', ' ')} ({model})"


def _read_checks(dataset: Dataset) -> list[CheckedSet]:
    checks = list[CheckedSet]()
    for batch in sorted(dataset.batches):
        # Without evaluation sets in the settings, no check is recorded.
        if dataset.lake.has(_CHECKED, batch):
            checks += from_frame(dataset.lake.rows(_CHECKED, batch), CheckedSet)
    return checks


def _metric_facts(scores: VersionScores, metric: Metric) -> MetricFacts:
    means = [scores.mean(version, metric) for version in scores.versions]
    return MetricFacts(
        metric=metric.replace("_", " "),
        cells=tuple(_format_interval(mean) for mean in means),
    )


def _published_rows(
    dataset: Dataset, published: pl.DataFrame, stage: str, *columns: str
) -> pl.DataFrame:
    rows = dataset.rows(stage, "prompt_id", *columns)
    prompts = published.select("prompt_id").unique()
    return rows.join(prompts, on="prompt_id", how="semi")


def _count_values(values: pl.Series) -> tuple[CountFacts, ...]:
    """Count each value, the most frequent first."""
    counts = Counter(values.to_list())
    # The second sort is stable, so that equal counts stay in the order of their values.
    ordered = sorted(sorted(counts), key=counts.__getitem__, reverse=True)
    return tuple(CountFacts(what=value, rows=counts[value]) for value in ordered)


def _format_interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    mean = f"{estimate.value:.2f}"
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} ({estimate.low:.2f} to {estimate.high:.2f})"
