"""Checks of policies that need no model: files, numbers, wording, lengths."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aidsafe_dagster.policy_work.findings import Finding, PolicyFile
from aidsafe_dagster.quality.tokens import TokenCounter
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies, Policy, load_policy
from aidsafe_dagster.recipe.rule_wording import (
    describe_untestable,
    describe_vagueness,
    list_pairings,
    unknown_references,
)

MOST_RULE_TOKENS = 200
"""Four times a rule of the shipped policies. Every call carries every rule."""
MOST_POLICY_SHARE = 0.5
"""Of the context. The rest is for the prompt, what was said so far, and the answer."""
_DEFAULT_CONTEXT = 8192
"""For which the default settings are made."""


def read_policy_files(place: Path) -> list[PolicyFile]:
    """Read the policies of a folder, or one file, with what is wrong where one is none.

    Raises:
        SetupError: there is no such place, or no file in it.
    """
    if place.is_file():
        return [_read(place)]
    if not place.is_dir():
        raise SetupError(f"{place}: there is no such file or folder")
    files = sorted(place.glob("*.toml"))
    if not files:
        raise SetupError(f"{place}: no policy files (*.toml) here")
    return [_read(file) for file in files]


def _read(path: Path) -> PolicyFile:
    try:
        text = path.read_text("utf-8-sig", "replace")
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return PolicyFile(path=path, text=text, policy=load_policy(path))
    except SetupError as error:
        problem = str(error).removeprefix(f"{path}")
        return PolicyFile(
            path=path, text=text, policy=None, problem=problem.lstrip(":, ")
        )


def together(files: Sequence[PolicyFile]) -> Policies:
    """Return the policies of files that hold one; of two with one id, the first."""
    by_id: dict[str, Policy] = {}
    for file in files:
        if file.policy is not None:
            by_id.setdefault(file.policy.id, file.policy)
    return Policies(policies=tuple(by_id[policy_id] for policy_id in sorted(by_id)))


def file_of_rules(files: Sequence[PolicyFile]) -> dict[str, PolicyFile]:
    """Return the file of each rule, by the rule's id; of two with one id, the first."""
    files_by_rule: dict[str, PolicyFile] = {}
    seen: set[str] = set()
    for file in files:
        if file.policy is not None and file.policy.id not in seen:
            seen.add(file.policy.id)
            files_by_rule |= dict.fromkeys(file.policy.rule_ids, file)
    return files_by_rule


def check_files(
    files: Sequence[PolicyFile], beside: Sequence[PolicyFile]
) -> Iterator[Finding]:
    """Yield files that hold no policy, and ids that stand in two of them."""
    seen: dict[str, PolicyFile] = {}
    for file in beside:
        if file.policy is not None:
            seen.setdefault(file.policy.id, file)
    for file in files:
        if file.policy is None:
            line = _line_in(file.problem)
            yield Finding(
                check="file", file=file.path, line=line, rule="", message=file.problem
            )
            continue
        policy_id = file.policy.id
        if policy_id in seen:
            other = seen[policy_id].path
            yield Finding(
                check="file",
                file=file.path,
                line=file.line_of("id"),
                rule=policy_id,
                message=f"the id '{policy_id}' is already used by {other.name}",
                other_file=other,
            )
        seen.setdefault(policy_id, file)


def check_numbers(file: PolicyFile, policy: Policy) -> Iterator[Finding]:
    """Yield rules of one number in two spellings, and a note on gaps."""
    by_number: dict[int, str] = {}
    for number in policy.rules:
        rule = f"{policy.id}.{number}"
        value = int(number)
        if value in by_number:
            yield Finding(
                check="number",
                file=file.path,
                line=file.line_of("rules", number),
                rule=rule,
                other=f"{policy.id}.{by_number[value]}",
                message=f"'{number}' and '{by_number[value]}' are the same number",
            )
        by_number.setdefault(value, number)
    expected = list(range(1, len(by_number) + 1))
    if sorted(by_number) != expected:
        yield Finding(
            check="number",
            file=file.path,
            line=file.line_of("rules"),
            rule=policy.id,
            message=f"the numbers are not 1 to {len(by_number)} in a row",
            is_note=True,
        )


def check_wording(
    file: PolicyFile, policy: Policy, rule_ids: Sequence[str]
) -> Iterator[Finding]:
    """Yield rules that are vague, cannot be tested, or refer to rules that do not exist."""
    for number, text in policy.rules.items():
        rule = f"{policy.id}.{number}"
        line = file.line_of_rule(rule)
        untestable = describe_untestable(text)
        vague = describe_vagueness(text)
        if untestable:
            yield Finding(
                check="untestable",
                file=file.path,
                line=line,
                rule=rule,
                message=untestable,
            )
        elif vague:
            yield Finding(
                check="vague", file=file.path, line=line, rule=rule, message=vague
            )
        numbers = tuple(policy.rules)
        for reference in unknown_references(text, policy.id, numbers, rule_ids):
            yield Finding(
                check="reference",
                file=file.path,
                line=line,
                rule=rule,
                message=f"it refers to {reference}, and there is no such rule",
            )


def check_pairs(
    policies: Policies,
    files_by_rule: Mapping[str, PolicyFile],
    own: Sequence[PolicyFile],
) -> Iterator[Finding]:
    """Yield pairs of rules that are duplicates or contradict each other, by their words."""
    paths = {file.path for file in own}
    rules = {rule: policies.rule(rule) for rule in policies.rule_ids}
    for pairing in list_pairings(rules):
        first, second = pairing.first, pairing.second
        # The one that is being looked at is named first.
        if files_by_rule[second].path in paths:
            first, second = second, first
        if files_by_rule[first].path in paths:
            yield pair_finding(
                pairing.relation, first, second, pairing.reason, files_by_rule
            )


def pair_finding(
    check: str,
    first: str,
    second: str,
    reason: str,
    files_by_rule: Mapping[str, PolicyFile],
) -> Finding:
    """Return a finding on two rules."""
    file, other = files_by_rule[first], files_by_rule[second]
    return Finding.model_validate(
        {
            "check": check,
            "file": file.path,
            "line": file.line_of_rule(first),
            "rule": first,
            "other": second,
            "other_file": other.path,
            "message": reason,
        }
    )


def check_lengths(
    files: Sequence[PolicyFile],
    policies: Policies,
    counter: TokenCounter,
    context_length: int | None,
) -> Iterator[Finding]:
    """Yield rules that are long by themselves, and policies that fill the context together."""
    tokens: dict[str, int] = {}
    for rule in policies.rule_ids:
        tokens[rule] = counter(policies.rule(rule))
    length = context_length or _DEFAULT_CONTEXT
    total = sum(counter(policy.text) for policy in policies.policies)
    for file in files:
        if file.policy is None:
            continue
        for rule in file.policy.rule_ids:
            if tokens.get(rule, 0) > MOST_RULE_TOKENS:
                yield Finding(
                    check="long",
                    file=file.path,
                    line=file.line_of_rule(rule),
                    rule=rule,
                    message=f"{tokens[rule]:,} tokens; a rule of more than {MOST_RULE_TOKENS} "
                    "is read past, and every call carries it: divide it",
                )
    if total > MOST_POLICY_SHARE * length and files:
        yield _too_long(files, policies, counter, length, total, context_length)


def _too_long(
    files: Sequence[PolicyFile],
    policies: Policies,
    counter: TokenCounter,
    length: int,
    total: int,
    context_length: int | None,
) -> Finding:
    longest = max(policies.policies, key=lambda policy: counter(policy.text))
    file = files[0]
    for one in files:
        if one.policy is not None and one.policy.id == longest.id:
            file = one
    whose = "the model holds" if context_length else "the default settings are made for"
    return Finding(
        check="context",
        file=file.path,
        line=0,
        rule=longest.id,
        message=f"the policies take {total:,} tokens of every request, and {whose} {length:,}; "
        f"the longest is {longest.id}, {counter(longest.text):,} tokens",
    )


def _line_in(problem: str) -> int:
    """Return the line that a message names, or quotes with its number; 0 without one."""
    for part in problem.replace(",", " ").replace(":", " ").split("line ")[1:]:
        digits = part.split()[0] if part.split() else ""
        if digits.isdigit():
            return int(digits)
    for line in problem.split("\n")[1:]:
        digits = line.partition("|")[0].strip()
        if digits.isdigit():
            return int(digits)
    return 0
