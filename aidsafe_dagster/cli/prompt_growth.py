"""The work of `aidsafe prompts grow`: find what is thin, ask, write the file, take it in."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from aidsafe_dagster.cli.capacity import present_prices
from aidsafe_dagster.cli.console import (
    cut,
    listing,
    print_paragraph,
    print_plain,
    print_problem,
    quantity,
    short_count,
)
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.ingest import run_ingestion
from aidsafe_dagster.cli.local_runs import open_instance
from aidsafe_dagster.cli.policy_progress import server_log, waiting
from aidsafe_dagster.cli.preview import agree
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.prompt_coverage import print_coverage
from aidsafe_dagster.cli.prompt_parents import source_of
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.engines.embeddings import embedder
from aidsafe_dagster.engines.prices import cost_of, format_money
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.prompt_work.coverage import (
    KINDS,
    Coverage,
    measure_coverage,
)
from aidsafe_dagster.prompt_work.gaps import Gap, Scope, find_gaps, planned
from aidsafe_dagster.prompt_work.growing import Growing, Growth, PromptWriter
from aidsafe_dagster.prompt_work.grown_file import (
    append_grown,
    default_name,
    finished_growths,
    licence_of,
    record_growth,
)
from aidsafe_dagster.prompt_work.known import known_prompts
from aidsafe_dagster.prompt_work.sieve import Rejected, Sieve, Why
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.grown_prompts import MOST_AT_ONCE, load_writer_templates
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import PromptKind, Role, Usage
from aidsafe_dagster.recipe.templates import PROMPT_WORK
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.clusters import Thresholds
from aidsafe_dagster.sources.evaluation_sets import read_evaluation_sets
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets

_EXAMPLES = 2
"""Left-out prompts that are shown of each reason."""
_TOKENS_OF_PROMPT = 60
_TOKENS_OF_TASK = 250


@dataclass(frozen=True)
class Request:
    """What a person asked to grow."""

    target: int | None
    rules: tuple[str, ...]
    categories: tuple[str, ...]
    kinds: tuple[str, ...]
    most: int | None
    name: str
    """Of the source; empty: that of the engine."""
    licence: str
    is_agreed: bool


def grow_source(request: Request) -> bool:
    """Grow prompts where the dataset is thin, and take them in.

    Returns:
        Whether a prompt was taken, or nothing is thin.

    Raises:
        SetupError: policies, rows or evaluation sets cannot be read, an option names nothing that
            there is, or no call can succeed.
    """
    settings = _settings(request)
    scope = _scope(request)
    source = source_of(request.name or default_name(settings))
    print_engine(settings)
    lock = LockFile(
        settings.home / PROMPT_WORK / "grow.lock", "the file of grown prompts"
    )
    # What another growth takes is not to be asked for again.
    with lock.hold(f"process {os.getpid()}", print_paragraph):
        policies = settings.load_policies()
        before = measure_coverage(Lake(settings.lake), policies, settings.engine)
        _refuse_rehearsal(before, settings)
        gaps = find_gaps(before, scope, settings.grow.target, settings.grow.most)
        if gaps:
            return _fill(gaps, before, settings, source, is_agreed=request.is_agreed)
    print_coverage(before, before, settings.grow.target)
    print_paragraph("Nothing of what was looked at is thin, so nothing is grown.")
    return True


def _fill(
    gaps: Sequence[Gap],
    before: Coverage,
    settings: Settings,
    source: dict[str, Any],
    *,
    is_agreed: bool,
) -> bool:
    """Grow what is missing, and take it in; tell whether anything was taken."""
    lake = Lake(settings.lake)
    sieve = _sieve(settings, before.policies)
    _print_plan(gaps, before, sieve, settings)
    names = [gap.cell.name for gap in gaps]
    agree(settings, {PROMPT_WORK: names}, is_agreed=is_agreed)
    growth = _grow(gaps, sieve, before, settings, lake)
    _print_growth(growth, settings)
    if growth.taken and not _take_in(source, growth, settings):
        return False
    after = measure_coverage(lake, before.policies, settings.engine)
    record = record_growth(settings, growth, before.counts, after.counts)
    print_plain("")
    print_coverage(before, after, settings.grow.target)
    print_paragraph(f"What was asked, taken and left out: {shown(record)}")
    if not growth.taken:
        print_problem("Error", "no prompt was taken; the counts above say why")
        return False
    print_paragraph("`aidsafe backfill` makes the rows of the new prompts.")
    if len(growth.taken) < planned(gaps) or planned(gaps) == settings.grow.most:
        print_paragraph("The same command goes on where it is still thin.")
    return True


def _settings(request: Request) -> Settings:
    settings = load_settings().settings
    changes: dict[str, Any] = {}
    for key in ("target", "most", "licence"):
        value = getattr(request, key)
        if value:
            changes[key] = value
    return settings.model_copy(
        update={"grow": settings.grow.model_copy(update=changes)}
    )


def _scope(request: Request) -> Scope:
    for kind in request.kinds:
        if kind not in KINDS:
            raise unknown("kind", kind, KINDS, "prompts grow --kind")
    kinds = cast("tuple[PromptKind, ...]", tuple(dict.fromkeys(request.kinds)))
    categories = tuple(name.strip() for name in request.categories)
    if not all(categories):
        raise SetupError("prompts grow --category: a category has a name")
    return Scope(request.rules, tuple(dict.fromkeys(categories)), kinds)


def _refuse_rehearsal(coverage: Coverage, settings: Settings) -> None:
    if settings.engine == "rehearsal" and coverage.made and not coverage.simulated:
        raise SetupError(
            "the rows of this project are a model's, and the engine is 'rehearsal': what it writes "
            "would stand among real prompts. Set the engine, or try it in another project"
        )


def _sieve(settings: Settings, policies: Policies) -> Sieve:
    return Sieve(
        templates=load_writer_templates(settings.prompts),
        policies=policies,
        bounds=settings.answers,
        language=settings.grow.language,
        thresholds=Thresholds(
            near_duplicate=settings.ingest.near_duplicate_threshold,
            cluster=settings.ingest.cluster_threshold,
        ),
        same_words=settings.grow.same_words,
        # Read in any case: no prompt counts as clean because nobody looked.
        evaluation_sets=read_evaluation_sets(
            settings.decontamination.sets, bounds=settings.ingest
        ),
        decontamination=settings.decontamination,
        embed=embedder(settings.embeddings),
        embedding_threshold=settings.selection.embedding_threshold,
    )


def _grow(
    gaps: Sequence[Gap], sieve: Sieve, before: Coverage, settings: Settings, lake: Lake
) -> Growth:
    with waiting(settings, "Growing prompts …") as polling:
        writer = PromptWriter(settings, before.policies, server_log(settings), polling)
        writer.require_servers(Role.PROMPT_WRITER, Role.JUDGE)
        growing = Growing(
            writer,
            sieve,
            before,
            known_prompts(lake),
            settings.grow,
            finished_growths(settings),
        )
        return growing.grow(gaps)


def _take_in(source: dict[str, Any], growth: Growth, settings: Settings) -> bool:
    """Write and ingest the file of grown prompts; tell whether that went well."""
    path = Path(source["path"])
    added = append_grown(path, growth, settings.grow)
    print_paragraph(
        f"{quantity(added, 'prompt')} added to {shown(path)}, licence "
        f"{licence_of(growth, settings.grow)}."
    )
    with open_instance() as instance:
        return run_ingestion(instance, [source]).success


def _print_plan(
    gaps: Sequence[Gap], before: Coverage, sieve: Sieve, settings: Settings
) -> None:
    """Say what is about to be asked, and what that is likely to take."""
    prompts = planned(gaps)
    rules = {gap.cell.name for gap in gaps if gap.cell.subject == "rule"}
    categories = {gap.cell.name for gap in gaps if gap.cell.subject == "category"}
    places = [quantity(len(rules), "rule")] if rules else []
    if categories:
        noun = "category" if len(categories) == 1 else "categories"
        places.append(f"{len(categories):,} {noun}")
    print_paragraph(
        f"To grow: {quantity(prompts, 'prompt')} for {' and '.join(places)} "
        f"with fewer than {settings.grow.target} of a kind."
    )
    untouched = [rule for rule in before.untouched_rules if rule in rules]
    if untouched:
        print_paragraph(f"No prompt is known to touch {listing(untouched)}.", 2)
    for category in sorted(categories):
        _say_if_new(category, before)
    if prompts == settings.grow.most:
        print_paragraph(
            f"No more than {prompts} at a time (grow.most): the thinnest places first.",
            2,
        )
    if not sieve.evaluation_sets:
        print_paragraph(
            "No evaluation set is configured: they are checked against none.", 2
        )
    usage = _likely_usage(gaps, settings, before.policies)
    line = (
        f"Likely: {quantity(usage.calls, 'call')}, {short_count(usage.prompt_tokens)} tokens in, "
        f"{short_count(usage.completion_tokens)} out"
    )
    if settings.currency:
        money = cost_of(usage, present_prices(settings, ()))
        line += f", {format_money(money, settings.currency)}"
    line += f" in the first round; at most {settings.grow.rounds} rounds."
    print_paragraph(line, 2)


def _say_if_new(category: str, before: Coverage) -> None:
    """Say so if nobody has a category yet, which may be a slip of the pen."""
    known = set(filter(None, before.categories))
    for policy in before.policies.policies:
        known.update(policy.categories)
    if category in known:
        return
    nearest = get_close_matches(category, sorted(known), n=1)
    hint = f"; there is '{nearest[0]}'" if nearest else ""
    print_paragraph(f"'{category}' is new: no prompt and no policy has it{hint}.", 2)


def _likely_usage(gaps: Sequence[Gap], settings: Settings, policies: Policies) -> Usage:
    """Estimate the calls and tokens of the first round."""
    templates = load_writer_templates(settings.prompts)
    system = templates.task(PROMPT_WORK, "system", policies=policies.policies)
    tokens = token_counter(settings).count(system) + _TOKENS_OF_TASK
    orders = sum(-(-gap.missing // MOST_AT_ONCE) for gap in gaps)
    prompts = planned(gaps)
    calls = orders + prompts
    return Usage(
        calls=calls,
        prompt_tokens=calls * tokens,
        completion_tokens=2 * prompts * _TOKENS_OF_PROMPT,
    )


def _print_growth(growth: Growth, settings: Settings) -> None:
    """Print how many prompts came, why the others did not, and what it took."""
    rounds = quantity(growth.rounds, "round")
    print_paragraph(
        f"{len(growth.taken):,} of {quantity(growth.asked, 'prompt')} asked for were taken, in "
        f"{rounds}."
    )
    for why, count in growth.counts.items():
        print_paragraph(f"{count:,} left out: {why}", 2)
        for rejected in _examples(growth.rejected, why):
            detail = visible(mask_secrets(cut(rejected.detail, 160), settings))
            text = f"“{visible(cut(rejected.text, 120))}”: " if rejected.text else ""
            print_paragraph(f"{text}{detail}", 4)
    spending = Spending(growth.usage, growth.replayed)
    print_paragraph(f"Cost: {describe_spending(spending, settings.currency)}")


def _examples(rejected: Sequence[Rejected], why: Why) -> list[Rejected]:
    """Return a few of what was left out for a reason, each detail once."""
    seen = Counter[tuple[str, str]]()
    examples: list[Rejected] = []
    for one in rejected:
        key = (one.text, one.detail)
        seen[key] += 1
        if one.why is why and seen[key] == 1 and len(examples) < _EXAMPLES:
            examples.append(one)
    return examples
