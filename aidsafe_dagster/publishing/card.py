"""Collect the facts of the dataset card from a release's rows, the settings and the lake."""

from collections.abc import Mapping
from dataclasses import dataclass

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.publishing.dataset import SPLITS, ReleaseRows, ReleaseSelection
from aidsafe_dagster.publishing.facts import (
    coverage_facts,
    evaluation_sets,
    example,
    floor_facts,
    generation_facts,
    left_out,
    length_ratio,
    mixed_batches,
    model_facts,
    pair_kinds,
    policies_versions,
    prompt_kinds,
    quality_facts,
    source_facts,
    ways_made,
)
from aidsafe_dagster.publishing.languages import language_facts, main_languages
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
from aidsafe_dagster.recipe.format_types import RowKind
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.preference_pairs import PairSettings
from aidsafe_dagster.reports.frames import Dataset

_ABOUT: dict[RowKind, str] = {
    "sft": "supervised fine-tuning (TRL SFTTrainer)",
    "selected": "the same on few rows: the best of `sft`, diverse, balanced and hard, with why",
    "dpo": "preference training (TRL DPOTrainer)",
    "deliberations": (
        "reading and analysis: the columns of the paper's release, and the lineage of every thought"
    ),
    "prm": "process rewards (stepwise supervision): the refiner's verdict on every thought",
    "kto": "unpaired preference (TRL KTOTrainer): every answer that is clearly good or bad",
    "reward": "reward models (TRL RewardTrainer): the best answer beside each worse one",
    "guard": "guards that read a policy: verdicts with reasons, as many violations as look-alikes",
    "counterfactual_sft": (
        "reading the policy: one prompt under two sets of policies, given as system message, with "
        "the answer that is right under each (TRL SFTTrainer)"
    ),
    "counterfactual_dpo": (
        "the same as preferences: rejected is the answer that is right under the other set alone "
        "(TRL DPOTrainer)"
    ),
    "grpo": "reinforcement learning (TRL GRPOTrainer): prompts with their rules as a rubric",
}
_DEFAULT_NAME = "Policy-embedded chains of thought"
_TAGS = (
    "safety",
    "chain-of-thought",
    "deliberative-alignment",
    "dpo",
    "trl",
    "aidsafe",
    "not-for-all-audiences",
)
_GATING_PROMPT = (
    "This dataset holds harmful requests, and answers that break safety policies on purpose. It is "
    "for research on the safety of language models and for their training. You agree not to train "
    "a model towards the rejected answers and not to use the prompts against any system or person."
)
_GATING_FIELDS = {
    "Affiliation": "text",
    "What I will use it for": "text",
    "I agree to the terms above": "checkbox",
}


@dataclass(frozen=True)
class CardContext:
    """The settings on which a release and its card depend."""

    publish: PublishSettings
    policies: Policies
    general_ratio: float | None = None
    pairs: PairSettings = PairSettings()
    """Its floors tell the good answers of `kto`, `reward` and `guard` from the bad ones."""


def card_facts(
    lake: Lake,
    selection: ReleaseSelection,
    rows: ReleaseRows,
    context: CardContext,
    licence: Licence,
    *,
    simulated: bool,
) -> CardFacts:
    """Collect everything that the card states."""
    dataset = Dataset(
        lake, frozenset(selection.batches), simulated=simulated, left_out=0
    )
    languages = language_facts(dataset, rows.published)
    published, settings, policies = rows.published, context.publish, context.policies
    # A batch with an overridden gate may have been dropped since, as outdated.
    overridden = {
        batch: why
        for batch, why in selection.overridden.items()
        if batch in selection.batches
    }
    return CardFacts(
        repo=settings.repo,
        pretty_name=_pretty_name(settings),
        version=rows.version,
        simulated=simulated,
        licence=licence.name,
        hub_licence=licence.hub_id,
        licence_link=settings.licence_link,
        language=settings.language or main_languages(languages),
        languages=languages,
        tags=_tags(settings, simulated=simulated),
        gating=_gating_facts(settings),
        configs=_config_facts(rows, settings),
        lineage=tuple(LINEAGE.items()),
        example=example(dataset, published),
        sources=source_facts(published),
        models=model_facts(dataset, published),
        generations=generation_facts(dataset, published),
        policies=policies,
        policies_versions=policies_versions(dataset, published),
        coverage=coverage_facts(dataset, published, policies),
        prompt_kinds=prompt_kinds(published),
        pair_kinds=pair_kinds(dataset, published),
        ways_made=ways_made(published),
        length_ratio=length_ratio(dataset, published),
        quality=quality_facts(dataset, published),
        floors=floor_facts(dataset),
        evaluation_sets=evaluation_sets(dataset),
        left_out=(*left_out(dataset), *_unpublished_rows(rows)),
        batches=selection.batches,
        batches_left_out=_batch_facts(selection.left_out),
        batches_overridden=_batch_facts(overridden),
        batches_without_dpo=_batch_facts(selection.without_dpo),
        batches_of_mixed_recipe=mixed_batches(dataset),
        reasoning=settings.reasoning,
    )


def _pretty_name(settings: PublishSettings) -> str:
    repo_name = settings.repo.rpartition("/")[2]
    return settings.pretty_name or repo_name or _DEFAULT_NAME


def _tags(settings: PublishSettings, *, simulated: bool) -> tuple[str, ...]:
    tags = [*_TAGS, *settings.tags]
    if simulated:
        tags.append("rehearsal")
    # A dict and not a set: tags of the settings may repeat ours, and the order must stay.
    return tuple(dict.fromkeys(tags))


def _gating_facts(settings: PublishSettings) -> GatingFacts | None:
    if settings.gated == "off":
        return None
    return GatingFacts(
        mode=settings.gated, prompt=_GATING_PROMPT, fields=_GATING_FIELDS
    )


def _config_facts(
    rows: ReleaseRows, settings: PublishSettings
) -> tuple[ConfigFacts, ...]:
    facts = []
    for config in settings.configs:
        splits = _split_facts(rows, config)
        # The Hub cannot load a config without files.
        if not splits:
            continue
        columns = []
        for name, column in CONFIGS[config].items():
            # The card lists the lineage once, for all configs.
            if name not in LINEAGE:
                columns.append((name, column))
        facts.append(
            ConfigFacts(
                config=config,
                about=_ABOUT[config],
                splits=splits,
                columns=tuple(columns),
            )
        )
    return tuple(facts)


def _split_facts(rows: ReleaseRows, config: RowKind) -> tuple[SplitFacts, ...]:
    facts = []
    for split in SPLITS:
        if (config, split) in rows.counts:
            facts.append(
                SplitFacts(
                    split=split,
                    rows=rows.counts[config, split],
                    # A glob, so that the card holds for any number of shards.
                    files=f"data/{config}/{split}-*.parquet",
                )
            )
    return tuple(facts)


def _unpublished_rows(rows: ReleaseRows) -> tuple[LeftOutFacts, ...]:
    """Count the sound rows that the release leaves out."""
    counts = {
        "a think tag in the text itself": rows.ambiguous,
        "benign, beyond the general mix": rows.beyond_mix,
    }
    return tuple(
        LeftOutFacts(stage="release", reason=reason, rows=count)
        for reason, count in counts.items()
        if count
    )


def _batch_facts(reasons: Mapping[str, str]) -> tuple[BatchFacts, ...]:
    return tuple(
        BatchFacts(batch=batch, why=why) for batch, why in sorted(reasons.items())
    )
