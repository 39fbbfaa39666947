"""The work of `aidsafe prompts twins`: find what to write, ask, write the file, take it in."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from aidsafe_dagster.cli.capacity import present_prices
from aidsafe_dagster.cli.console import (
    cut,
    print_paragraph,
    print_problem,
    quantity,
    short_count,
)
from aidsafe_dagster.cli.engine_line import print_engine
from aidsafe_dagster.cli.policy_progress import server_log, waiting
from aidsafe_dagster.cli.preview import agree
from aidsafe_dagster.cli.project_folder import shown
from aidsafe_dagster.cli.prompt_parents import (
    print_parents,
    read_parents,
    source_of,
    take_in,
)
from aidsafe_dagster.cli.spending import Spending, describe_spending
from aidsafe_dagster.engines.prices import cost_of, format_money
from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.primitives.lock_file import LockFile
from aidsafe_dagster.prompt_work.growing import PromptWriter
from aidsafe_dagster.prompt_work.known import known_prompts
from aidsafe_dagster.prompt_work.parents import Parents
from aidsafe_dagster.prompt_work.twins import (
    LostTwin,
    TwinMaker,
    Twins,
    Wish,
    find_wishes,
    record_twins,
    twin_row,
)
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.grown_prompts import load_writer_templates
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Role, Usage
from aidsafe_dagster.recipe.templates import PROMPT_WORK
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.load import load_settings
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.sources.clusters import Thresholds
from aidsafe_dagster.stages.decontamination import open_decontamination
from aidsafe_dagster.stages.failed_answers import visible
from aidsafe_dagster.stages.failure_lines import mask_secrets

_EXAMPLES = 2
"""Twins that are shown, and left-out ones of each reason."""
_TOKENS_OF_PROMPT = 60
_TOKENS_OF_TASK = 250
_NAME, _REHEARSED_NAME = "twins", "rehearsed_twins"


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    per_prompt: int
    most: int
    name: str
    """Of the source; empty: that of the engine."""
    licence: str
    is_agreed: bool


def make_twins(request: Request) -> bool:
    """Write benign twins of the project's harmful prompts, and take them in.

    Returns:
        Whether a twin was taken, or every prompt has its twins.

    Raises:
        SetupError: rows or evaluation sets cannot be read, or no call can succeed.
    """
    settings = load_settings().settings
    policies = settings.load_policies()
    rehearses = settings.engine == "rehearsal"
    source = source_of(request.name or (_REHEARSED_NAME if rehearses else _NAME))
    print_engine(settings)
    lock = LockFile(
        settings.home / PROMPT_WORK / "twins.lock", "the file of benign twins"
    )
    # What another command has under way is not to be asked for again.
    with lock.hold(f"process {os.getpid()}", print_paragraph):
        parents = read_parents(settings, policies)
        _refuse_rehearsal(parents, settings)
        print_parents(parents, settings)
        wishes = find_wishes(parents, request.per_prompt, request.most)
        _print_plan(wishes, parents, request, settings, policies)
        if not wishes:
            return _explain_nothing(parents)
        names = [wish.parent.prompt.prompt_id for wish in wishes]
        agree(settings, {PROMPT_WORK: names}, is_agreed=request.is_agreed)
        twins = _make(wishes, settings, policies)
        _print_twins(twins, settings)
        record = record_twins(settings, twins)
        print_paragraph(f"What was asked, taken and left out: {shown(record)}")
        if not twins.taken:
            print_problem("Error", "no twin was taken; the counts above say why")
            return False
        rows = [twin_row(twin, twins, request.licence) for twin in twins.taken]
        return take_in(source, rows)


def _refuse_rehearsal(parents: Parents, settings: Settings) -> None:
    is_real = any(parent.intents for parent in parents.eligible)
    if settings.engine == "rehearsal" and is_real and not parents.simulated:
        raise SetupError(
            "the rows of this project are a model's, and the engine is 'rehearsal': what it writes "
            "would stand among real prompts. Set the engine, or try it in another project"
        )


def _make(wishes: Sequence[Wish], settings: Settings, policies: Policies) -> Twins:
    with waiting(settings, "Writing benign twins …") as polling:
        writer = PromptWriter(settings, policies, server_log(settings), polling)
        writer.require_servers(Role.PROMPT_WRITER, Role.JUDGE)
        maker = TwinMaker(
            writer,
            policies,
            known_prompts(Lake(settings.lake)),
            Thresholds(
                settings.ingest.near_duplicate_threshold,
                settings.ingest.cluster_threshold,
            ),
            open_decontamination(settings).find,
        )
        return maker.make(wishes)


def _print_plan(
    wishes: Sequence[Wish],
    parents: Parents,
    request: Request,
    settings: Settings,
    policies: Policies,
) -> None:
    """Say what is about to be asked, and what that is likely to take."""
    without = sum(not parent.benign_intents for parent in parents.eligible)
    if without:
        print_paragraph(
            f"{without:,} without a benign intent on record: there is nothing to write",
            2,
        )
    if not wishes:
        return
    line = f"To write: {quantity(len(wishes), 'benign twin')}"
    if len(wishes) == request.most:
        line += ", no more at a time (--most)"
    print_paragraph(f"{line}.")
    usage = _likely_usage(len(wishes), settings, policies)
    figures = (
        f"Likely: {quantity(usage.calls, 'call')}, {short_count(usage.prompt_tokens)} tokens in, "
        f"{short_count(usage.completion_tokens)} out"
    )
    if settings.currency:
        money = cost_of(usage, present_prices(settings, ()))
        figures += f", {format_money(money, settings.currency)}"
    print_paragraph(f"{figures}. What the journal has answers for costs nothing.", 2)


def _likely_usage(twins: int, settings: Settings, policies: Policies) -> Usage:
    templates = load_writer_templates(settings.prompts)
    system = templates.task(PROMPT_WORK, "system", policies=policies.policies)
    tokens = token_counter(settings).count(system) + _TOKENS_OF_TASK
    # The writer writes each, and the judge places it.
    calls = 2 * twins
    return Usage(
        calls=calls,
        prompt_tokens=calls * tokens,
        completion_tokens=calls * _TOKENS_OF_PROMPT,
    )


def _explain_nothing(parents: Parents) -> bool:
    """Say why there is nothing to write; tell whether that is as it should be."""
    if any(parent.benign_intents for parent in parents.eligible):
        print_paragraph("Every harmful prompt has its twins.")
        return True
    print_problem(
        "Error", "there is no prompt to write a twin of; the counts above say why"
    )
    return False


def _print_twins(twins: Twins, settings: Settings) -> None:
    """Print how many twins came, why the others did not, and what it took."""
    print_paragraph(
        f"{len(twins.taken):,} of {quantity(twins.wishes, 'twin')} asked for were taken."
    )
    for twin in twins.taken[:_EXAMPLES]:
        harmful = twin.wish.parent.prompt.prompt
        print_paragraph(f"“{visible(cut(harmful, 100))}”", 2)
        print_paragraph(f"→ “{visible(cut(twin.text, 160))}”", 4)
    for why, count in twins.counts.items():
        print_paragraph(f"{count:,} left out: {why}", 2)
        of_reason = [one for one in twins.lost if one.why is why]
        for one in of_reason[:_EXAMPLES]:
            _print_lost(one, settings)
    spending = Spending(twins.usage, twins.replayed)
    print_paragraph(f"Cost: {describe_spending(spending, settings.currency)}")


def _print_lost(one: LostTwin, settings: Settings) -> None:
    detail = visible(mask_secrets(cut(one.detail, 160), settings))
    text = f"“{visible(cut(one.text, 120))}”: " if one.text else ""
    print_paragraph(f"{text}{detail}", 4)
