"""The experiments in the quality report, and each as a page of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aidsafe_dagster.ablations.archive import ExperimentArchive
from aidsafe_dagster.ablations.experiment import (
    TARGETS,
    Experiment,
    ExperimentResult,
)
from aidsafe_dagster.ablations.sections import (
    SIMULATED,
    differing_parts,
    title_of,
    values_of,
    variants_section,
)
from aidsafe_dagster.ablations.target_section import targets_section
from aidsafe_dagster.quality.statistics import RESAMPLES
from aidsafe_dagster.reports.files import write_report
from aidsafe_dagster.reports.html import to_html
from aidsafe_dagster.reports.markdown import to_markdown
from aidsafe_dagster.reports.sections import Report, Section, format_count

_MOST_NAMED = 3
"""Parts that are named to tell runs of one experiment apart."""


@dataclass(frozen=True)
class Pages:
    html: Path
    markdown: Path


def experiment_sections(
    home: Path, seed: int = 0, resamples: int = RESAMPLES
) -> list[Section]:
    """Return a section per experiment, by kind, the oldest first.

    Raises:
        SetupError: a file of an experiment is damaged.
    """
    results = list(ExperimentArchive(home).results())
    experiments = [result.experiment for result in results]
    sections = []
    for result in results:
        words = distinction(result.experiment, experiments)
        sections.append(experiment_section(result, words, seed, resamples))
    return sections


def experiment_section(
    result: ExperimentResult,
    distinction: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Section:
    """Return the section of one experiment; for the arguments, see `variants_section`."""
    is_on_targets = result.experiment.kind == TARGETS
    build = targets_section if is_on_targets else variants_section
    return build(result, distinction, seed, resamples)


def write_pages(folder: Path, result: ExperimentResult, section: Section) -> Pages:
    """Write an experiment as HTML to send and as Markdown.

    Args:
        folder: of the reports.
        result: the experiment.
        section: what the page shows.
    """
    experiment = result.experiment
    report = Report(
        facts=_facts(experiment),
        simulation_warning=SIMULATED if experiment.simulated else "",
        headlines=(),
        # The page itself has the title of the section.
        sections=[replace(section, title="Results")],
    )
    title = title_of(experiment)
    place = folder / "experiments" / f"{experiment.name}.html"
    html = write_report(place, to_html(report, title))
    markdown = write_report(place.with_suffix(".md"), to_markdown(report, title))
    return Pages(html, markdown)


def distinction(experiment: Experiment, others: Sequence[Experiment]) -> str:
    """Return in words how an experiment differs from other runs of its kind; empty if it is alone.

    Args:
        experiment: the one to describe.
        others: all experiments.
    """
    same_kind = [other for other in others if other.kind == experiment.kind]
    if len(same_kind) < 2:
        return ""
    words = []
    sides = [_common_parts(other) for other in same_kind]
    own = _common_parts(experiment)
    differing = [part for part in differing_parts(sides) if part in own]
    for part in differing[:_MOST_NAMED]:
        words.append(f"{part} {own[part]}")
    if len(differing) > _MOST_NAMED:
        words.append(f"{len(differing) - _MOST_NAMED} more settings")
    if len({other.prompt_ids for other in same_kind}) > 1:
        words.append(f"a sample of {format_count(len(experiment.prompt_ids))}")
    names = [tuple(variant.name for variant in other.variants) for other in same_kind]
    if len(set(names)) > 1:
        variants = ", ".join(variant.name for variant in experiment.variants)
        words.append(f"variants {variants}")
    return "; ".join(words)


def _common_parts(experiment: Experiment) -> Mapping[str, str]:
    """Return the parts that are the same in all variants of an experiment that have them."""
    sides = [variant.parts for variant in experiment.variants]
    common = {}
    for name in dict.fromkeys(name for side in sides for name in side):
        values = values_of(sides, name)
        if len(values) == 1:
            (common[name],) = values
    return common


def _facts(experiment: Experiment) -> dict[str, str]:
    models: set[str] = set()
    for variant in experiment.variants:
        for name, value in variant.parts.items():
            if name.endswith(": model"):
                models.add(f"{name.removesuffix(': model')}: {value}")
    return {
        "Prompts": format_count(len(experiment.prompt_ids)),
        "Batches": ", ".join(experiment.batches),
        "Variants": ", ".join(variant.name for variant in experiment.variants),
        "Models": "; ".join(sorted(models)),
    }
