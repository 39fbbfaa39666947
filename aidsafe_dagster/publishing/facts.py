"""What the card tells of a release, counted in the lake over the prompts that are published."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import polars as pl

from aidsafe_dagster.lake.tables import from_frame
from aidsafe_dagster.quality.coverage import policy_coverage
from aidsafe_dagster.quality.statistics import Estimate
from aidsafe_dagster.recipe.card import (
    CountFacts,
    CoverageFacts,
    EvaluationSetFacts,
    LeftOutFacts,
    MetricFacts,
    ModelFacts,
    QualityFacts,
    SourceFacts,
)
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import METRICS, PromptKind, RefinedCot, Stage
from aidsafe_dagster.recipe.transcript import refined_transcript
from aidsafe_dagster.reports.decontamination import removed_rows
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.grades import grade_rows, score_versions
from aidsafe_dagster.sources.evaluation_sets import CheckedSet

_SPEAKERS: Mapping[str, str] = {
    Stage.SINGLE_LLM_COTS: "the baseline: one model alone",
    Stage.SEED_COTS: "intent decomposer, initializer",
    Stage.DELIBERATED_COTS: "deliberators",
    Stage.REFINED_COTS: "refiner",
    Stage.COT_GRADES: "judges",
    Stage.PREFERENCE_PAIRS: "ear-whisperer, target, judges",
}
_CHECKED = "evaluation_sets"
_SEED, _RESAMPLES = 0, 2000


def source_facts(published: pl.DataFrame) -> tuple[SourceFacts, ...]:
    """Rows by source and licence; `published` has a line per row: prompt_id, kind, source, licence."""
    counts = Counter(published.select("source", "licence", "kind").iter_rows())
    return tuple(
        SourceFacts(
            source=source,
            licence=licence,
            sft=counts[source, licence, "sft"],
            dpo=counts[source, licence, "dpo"],
        )
        for source, licence in sorted({(source, licence) for source, licence, _ in counts})
    )


def model_facts(dataset: Dataset, published: pl.DataFrame) -> tuple[ModelFacts, ...]:
    """Which engine and model answered at each stage, and under which templates."""
    found = []
    for stage, speakers in _SPEAKERS.items():
        rows = _published(dataset, published, stage, "engine", "model", "templates_version")
        for (engine, model, version), count in sorted(
            Counter(rows.drop("prompt_id").iter_rows()).items()
        ):
            found.append(
                ModelFacts(
                    stage=stage,
                    roles=speakers,
                    engine=engine,
                    model=model,
                    templates_version=version,
                    rows=count,
                )
            )
    return tuple(found)


def policies_versions(dataset: Dataset, published: pl.DataFrame) -> tuple[CountFacts, ...]:
    rows = _published(dataset, published, Stage.REFINED_COTS, "policies_version")
    return _counted(rows["policies_version"])


def coverage_facts(
    dataset: Dataset, published: pl.DataFrame, policies: Policies
) -> tuple[CoverageFacts, ...]:
    """Per policy, the prompts that it applies to and those whose final thoughts cite it."""
    rows = _published(dataset, published, Stage.REFINED_COTS, "applicable_policies", "thoughts")
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
    """Prompts by kind."""
    counts = Counter(published.select("prompt_id", "prompt_kind").unique()["prompt_kind"].to_list())
    return tuple(
        CountFacts(what=kind, rows=counts[kind]) for kind in get_args(PromptKind) if counts[kind]
    )


def pair_kinds(dataset: Dataset, published: pl.DataFrame) -> tuple[CountFacts, ...]:
    pairs = published.filter(kind="dpo")
    return _counted(_published(dataset, pairs, Stage.PREFERENCE_PAIRS, "kind")["kind"])


def quality_facts(dataset: Dataset, published: pl.DataFrame) -> QualityFacts | None:
    """Mean scores by version, on the prompts of which every version was graded; None without grades."""
    lines = grade_rows(dataset).join(
        published.select("prompt_id").unique(), on="prompt_id", how="semi"
    )
    measured = score_versions(lines, _SEED, _RESAMPLES)
    if not measured.versions:
        return None
    judges = sorted(set(lines.select("judge", "model").iter_rows()))
    writers = (
        _published(dataset, published, Stage.REFINED_COTS, "model")["model"].unique().to_list()
    )
    return QualityFacts(
        judges=tuple(f"{judge.replace('_', ' ')} ({model})" for judge, model in judges),
        self_judged=tuple(
            sorted(
                {model for _, model in judges if any(model in who.split(", ") for who in writers)}
            )
        ),
        prompts=measured.n,
        versions=tuple(measured.versions),
        metrics=tuple(
            MetricFacts(
                metric=metric.replace("_", " "),
                cells=tuple(
                    _interval(measured.mean(version, metric)) for version in measured.versions
                ),
            )
            for metric in METRICS
        ),
    )


def example(dataset: Dataset, published: pl.DataFrame) -> str:
    """A benign row of the train split as a person reads it: the shortest of the first batch that has one, or empty."""
    fitting = published.filter(kind="sft", split="train", prompt_kind="benign")[
        "prompt_id"
    ].to_list()
    for batch in sorted(dataset.batches):
        rows = dataset.lake.rows(Stage.REFINED_COTS, batch).filter(
            pl.col("prompt_id").is_in(fitting)
        )
        if rows.height:
            pages = map(refined_transcript, from_frame(rows, RefinedCot))
            return min(pages, key=lambda page: (len(page), page))
    return ""


def left_out(dataset: Dataset) -> tuple[LeftOutFacts, ...]:
    """Failed rows by stage and reason, in the order of the recipe."""
    counts = Counter(dataset.failures.select("stage", "reason").iter_rows())
    places = list(map(str, Stage))
    ordered = sorted(counts.items(), key=lambda item: (places.index(item[0][0]), item[0][1]))
    return tuple(
        LeftOutFacts(stage=stage, reason=reason, rows=rows) for (stage, reason), rows in ordered
    )


def evaluation_sets(dataset: Dataset) -> tuple[EvaluationSetFacts, ...]:
    """The sets that the batches were checked against, and what was left out for each."""
    lake = dataset.lake
    checked = [
        one
        for batch in sorted(dataset.batches)
        if lake.has(_CHECKED, batch)
        for one in from_frame(lake.rows(_CHECKED, batch), CheckedSet)
    ]
    removed = Counter(
        name for name, _ in {(row.set, row.prompt_id) for row in removed_rows(dataset.failures, {})}
    )
    return tuple(
        EvaluationSetFacts(
            set=name,
            origin=origin if revision else Path(origin).name,  # of a file, not where it lies
            revision=revision,
            prompts=prompts,
            batches=len(
                {one.batch for one in checked if (one.set, one.content) == (name, content)}
            ),
            removed=removed[name],
        )
        for name, origin, revision, prompts, content in sorted(
            {(one.set, one.origin, one.revision, one.prompts, one.content) for one in checked}
        )
    )


def _published(
    dataset: Dataset, published: pl.DataFrame, stage: str, *columns: str
) -> pl.DataFrame:
    rows = dataset.rows(stage, "prompt_id", *columns)
    return rows.join(published.select("prompt_id").unique(), on="prompt_id", how="semi")


def _counted(values: pl.Series) -> tuple[CountFacts, ...]:
    counts = Counter(values.to_list())
    return tuple(
        CountFacts(what=what, rows=rows)
        for what, rows in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
