"""The facts of the card, from a release's rows, the settings and the lake."""

from collections.abc import Mapping
from dataclasses import dataclass

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.dataset import SPLITS, ReleaseSelection, Rows
from aidsafe_dagster.publishing.facts import (
    coverage_facts,
    evaluation_sets,
    example,
    left_out,
    model_facts,
    pair_kinds,
    policies_versions,
    prompt_kinds,
    quality_facts,
    source_facts,
)
from aidsafe_dagster.publishing.licences import Licence
from aidsafe_dagster.publishing.rows import CONFIGS, LINEAGE
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.card import (
    BatchFacts,
    CardFacts,
    ConfigFacts,
    GatingFacts,
    LeftOutFacts,
    SplitFacts,
)
from aidsafe_dagster.recipe.formats import RowKind
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.reports.frames import Dataset

_ABOUT: dict[RowKind, str] = {
    "sft": "supervised fine-tuning (TRL SFTTrainer)",
    "dpo": "preference training (TRL DPOTrainer)",
    "deliberations": "reading and analysis: the columns of the paper's release, and the lineage of every thought",
}
_TAGS = (
    "safety",
    "chain-of-thought",
    "deliberative-alignment",
    "dpo",
    "trl",
    "aidsafe",
    "not-for-all-audiences",
)
_GATE = (
    "This dataset holds harmful requests, and answers that break safety policies on purpose. It is for research on the "
    "safety of language models and for their training. You agree not to train a model towards the rejected answers and "
    "not to use the prompts against any system or person."
)
_FIELDS = {
    "Affiliation": "text",
    "What I will use it for": "text",
    "I agree to the terms above": "checkbox",
}


@dataclass(frozen=True)
class CardContext:
    """What the settings say that a release rests on."""

    publish: PublishSettings
    policies: Policies
    general_ratio: float | None = None


def card_facts(
    lake: Lake,
    chosen: ReleaseSelection,
    rows: Rows,
    told: CardContext,
    licence: Licence,
    *,
    simulated: bool,
) -> CardFacts:
    """Everything that the card says."""
    dataset = Dataset(lake, frozenset(chosen.batches), simulated=simulated, left_out=0)
    published, settings, policies = rows.published, told.publish, told.policies
    return CardFacts(
        repo=settings.repo,
        pretty_name=settings.pretty_name
        or settings.repo.rpartition("/")[2]
        or "Policy-embedded chains of thought",
        version=rows.version,
        simulated=simulated,
        licence=licence.name,
        hub_licence=licence.hub_id,
        licence_link=settings.licence_link,
        language=settings.language,
        tags=tuple(dict.fromkeys((*_TAGS, *settings.tags, *(("rehearsal",) if simulated else ())))),
        gating=None
        if settings.gated == "off"
        else GatingFacts(mode=settings.gated, prompt=_GATE, fields=_FIELDS),
        configs=_configs(rows, settings),
        lineage=tuple(LINEAGE.items()),
        example=example(dataset, published),
        sources=source_facts(published),
        models=model_facts(dataset, published),
        policies=policies,
        policies_versions=policies_versions(dataset, published),
        coverage=coverage_facts(dataset, published, policies),
        prompt_kinds=prompt_kinds(published),
        pair_kinds=pair_kinds(dataset, published),
        quality=quality_facts(dataset, published),
        evaluation_sets=evaluation_sets(dataset),
        left_out=(*left_out(dataset), *_not_published(rows)),
        batches=chosen.batches,
        batches_left_out=_batches(chosen.left_out),
        batches_overridden=_batches(
            {b: why for b, why in chosen.overridden.items() if b in chosen.batches}
        ),
        reasoning=settings.reasoning,
    )


def _configs(rows: Rows, settings: PublishSettings) -> tuple[ConfigFacts, ...]:
    found = []
    for config in settings.configs:
        splits = tuple(
            SplitFacts(
                split=split,
                rows=rows.counts[config, split],
                files=f"data/{config}/{split}-*.parquet",
            )
            for split in SPLITS
            if (config, split) in rows.counts
        )
        if splits:
            columns = tuple(
                (name, column) for name, column in CONFIGS[config].items() if name not in LINEAGE
            )
            found.append(
                ConfigFacts(config=config, about=_ABOUT[config], splits=splits, columns=columns)
            )
    return tuple(found)


def _not_published(rows: Rows) -> tuple[LeftOutFacts, ...]:
    """Sound rows that a release leaves out."""
    reasons = {
        "a think tag in the text itself": rows.ambiguous,
        "benign, beyond the general mix": rows.beyond_mix,
    }
    return tuple(
        LeftOutFacts(stage="release", reason=why, rows=count)
        for why, count in reasons.items()
        if count
    )


def _batches(reasons: Mapping[str, str]) -> tuple[BatchFacts, ...]:
    return tuple(BatchFacts(batch=batch, why=why) for batch, why in sorted(reasons.items()))
