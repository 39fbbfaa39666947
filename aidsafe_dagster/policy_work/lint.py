"""Checking policies: by rule, and by the model of the role `policy_editor`."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aidsafe_dagster.policy_work.asking import PolicyEditor
from aidsafe_dagster.policy_work.category_checks import (
    check_categories,
    check_unmet,
    known_categories,
)
from aidsafe_dagster.policy_work.findings import Finding, PolicyFile
from aidsafe_dagster.policy_work.rule_checks import (
    check_files,
    check_lengths,
    check_numbers,
    check_pairs,
    check_wording,
    file_of_rules,
    pair_finding,
    read_policy_files,
    together,
)
from aidsafe_dagster.quality.tokens import TokenCounter, load_token_counter
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.policy_lint import (
    PairReview,
    RuleReview,
    review_conversation,
    review_pair,
    review_rule,
)
from aidsafe_dagster.recipe.records import Failure, Role, Usage
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.settings.role_servers import server_of
from aidsafe_dagster.settings.schema import Settings

_PAIR_CHECKS = ("duplicate", "contradiction")


@dataclass
class Lint:
    """What was looked at, and what was found."""

    files: tuple[PolicyFile, ...]
    policies: Policies
    """Of these files and of those beside them."""
    files_by_rule: Mapping[str, PolicyFile]
    findings: list[Finding] = field(default_factory=list)
    reviewed: int = 0
    """Rules that the model reviewed."""
    due: int = 0
    """Rules that it was to review."""
    model: str = ""
    """Empty: no model was asked."""
    simulated: bool = False
    usage: Usage = Usage()
    replayed: int = 0

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of the files, without those beside them."""
        rules: list[str] = []
        for file in self.files:
            if file.policy is not None:
                rules.extend(file.policy.rule_ids)
        return tuple(dict.fromkeys(rules))

    @property
    def problems(self) -> list[Finding]:
        return [one for one in self.findings if not one.is_note]

    def sort(self) -> None:
        """Order the findings as a person goes through the files."""
        self.findings.sort(
            key=lambda one: (one.is_note, str(one.file), one.line, one.rule, one.check)
        )


def lint_by_rule(place: Path | None, settings: Settings, *, asks: bool) -> Lint:
    """Check policies without a model.

    Args:
        place: a folder or a file; None: the policies of the settings.
        settings: of the project.
        asks: servers may be asked for tokens and for their context length.

    Raises:
        SetupError: there is no policy file.
    """
    files = read_policy_files(place or settings.policies)
    beside = _beside(place, files, settings)
    policies = together([*files, *beside])
    lint = Lint(tuple(files), policies, file_of_rules([*files, *beside]))
    lint.findings.extend(check_files(files, beside))
    for file in files:
        if file.policy is not None:
            lint.findings.extend(check_numbers(file, file.policy))
            lint.findings.extend(check_wording(file, file.policy, policies.rule_ids))
    lint.findings.extend(check_pairs(policies, lint.files_by_rule, files))
    known = known_categories(settings)
    lint.findings.extend(check_categories(files, known))
    lint.findings.extend(check_unmet(known, policies, place or settings.policies))
    counter = _counter(settings, asks=asks)
    length = _context_length(settings, asks=asks)
    lint.findings.extend(check_lengths(files, policies, counter, length))
    lint.sort()
    return lint


def lint_by_model(lint: Lint, editor: PolicyEditor) -> None:
    """Add what a model finds to what was found by rule.

    Raises:
        SetupError: no call can succeed.
    """
    # Of two files with one id, the model is shown the first.
    rules = [rule for rule in lint.rules if rule in lint.files_by_rule]
    lint.due = len(lint.rules)

    def of_rules(context: DialogueContext) -> list[DialogueTask[RuleReview]]:
        tasks = []
        for rule in rules:
            conversation = review_conversation(context, rule)
            tasks.append(DialogueTask(conversation, review_rule(conversation, rule)))
        return tasks

    asked = editor.ask(of_rules, Role.POLICY_EDITOR)
    lint.model, lint.simulated = asked.model, asked.simulated
    lint.reviewed = len(asked.answers)
    for rule, result in zip(rules, asked.results, strict=True):
        if isinstance(result, Failure):
            lint.findings.append(_not_reviewed(lint, rule, "", result))
    _add_clarity(lint, asked.answers)
    pairs = _pairs(asked.answers, lint)

    def of_pairs(context: DialogueContext) -> list[DialogueTask[PairReview]]:
        tasks = []
        for pair in pairs:
            conversation = review_conversation(context, *pair)
            tasks.append(DialogueTask(conversation, review_pair(conversation, *pair)))
        return tasks

    reviews = editor.ask(of_pairs, Role.POLICY_EDITOR)
    for pair, outcome in zip(pairs, reviews.results, strict=True):
        if isinstance(outcome, Failure):
            lint.findings.append(_not_reviewed(lint, *pair, outcome))
        elif outcome.verdict != "neither":
            _add_pair(lint, outcome)
    lint.usage = asked.usage + reviews.usage
    lint.replayed = asked.replayed + reviews.replayed
    lint.sort()


def _beside(
    place: Path | None, files: Sequence[PolicyFile], settings: Settings
) -> list[PolicyFile]:
    """Return the policies in force, if others are looked at: a draft will stand among them."""
    if place is None or not settings.policies.is_dir():
        return []
    paths = {file.path.resolve() for file in files}
    beside = []
    for path in sorted(settings.policies.glob("*.toml")):
        if path.resolve() not in paths:
            beside.extend(read_policy_files(path))
    used = settings.use_policies
    return [
        file
        for file in beside
        if file.policy is not None and (not used or file.policy.id in used)
    ]


def _counter(settings: Settings, *, asks: bool) -> TokenCounter:
    if asks:
        return token_counter(settings)
    return load_token_counter(settings.tokenizer)


def _context_length(settings: Settings, *, asks: bool) -> int | None:
    """Return the shortest context of the roles that read policies; None if none is known."""
    lengths = []
    readers = (Role.INITIALIZER, Role.DELIBERATOR, Role.REFINER, Role.JUDGE)
    for role in readers:
        server = server_of(settings, str(role))
        if server is None:
            continue
        length = server.context_length
        if length is None and settings.engine == "vllm":
            length = settings.vllm.max_model_len
        if length is None and asks and server.base_url:
            # It imports an HTTP client, which a rehearsal needs not.
            from aidsafe_dagster.engines.server_facts import (  # noqa: PLC0415
                context_length,
            )

            length = asyncio.run(context_length(server))
        if length is not None:
            lengths.append(length)
    return min(lengths, default=None)


def _add_clarity(lint: Lint, reviews: Sequence[RuleReview]) -> None:
    for review in reviews:
        if review.clarity == "clear":
            continue
        file = lint.files_by_rule[review.rule]
        _merge(
            lint,
            Finding(
                check=review.clarity,
                file=file.path,
                line=file.line_of_rule(review.rule),
                rule=review.rule,
                message=review.reason,
                by="model",
            ),
        )


def _pairs(reviews: Sequence[RuleReview], lint: Lint) -> list[tuple[str, str]]:
    """Return each pair that a review or a comparison of words names, once."""
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for review in reviews:
        for other in review.related:
            pairs.setdefault(frozenset((review.rule, other)), (review.rule, other))
    for finding in lint.findings:
        if finding.check in _PAIR_CHECKS:
            both = (finding.rule, finding.other)
            pairs.setdefault(frozenset(both), both)
    return list(pairs.values())


def _add_pair(lint: Lint, review: PairReview) -> None:
    message = review.reason
    if review.verdict == "contradiction":
        message = f"{message.rstrip('.')}. On the request: “{review.request}”"
    finding = pair_finding(
        review.verdict, review.first, review.second, message, lint.files_by_rule
    )
    _merge(lint, finding.model_copy(update={"by": "model"}))


def _merge(lint: Lint, found: Finding) -> None:
    """Add a finding of the model to the same one by rule, or by itself."""
    rules = {found.rule, found.other}
    for place, finding in enumerate(lint.findings):
        if finding.check == found.check and {finding.rule, finding.other} == rules:
            message = finding.message
            if message in found.message:
                message = found.message
            elif found.message not in message:
                message = f"{message}. {found.message}"
            lint.findings[place] = finding.model_copy(
                update={"message": message, "by": "rule and model"}
            )
            return
    lint.findings.append(found)


def _not_reviewed(lint: Lint, rule: str, other: str, failure: Failure) -> Finding:
    file = lint.files_by_rule[rule]
    return Finding(
        check="not reviewed",
        file=file.path,
        line=file.line_of_rule(rule),
        rule=rule,
        other=other,
        message=f"{failure.reason}: {failure.detail}",
        by="model",
    )


def counts(findings: Sequence[Finding]) -> Iterator[tuple[str, int]]:
    """Yield each check that found something, with how often, in the order of the findings."""
    by_check: dict[str, int] = {}
    for finding in findings:
        by_check[finding.check] = by_check.get(finding.check, 0) + 1
    yield from by_check.items()
