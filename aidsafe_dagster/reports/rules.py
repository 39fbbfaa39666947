"""Sections: what became of each rule of the policies, and what its author may have to mend.

Each line of a table names up to three prompts to read. Which three goes by their ids, which are
hashes, so nobody has picked them.
"""

from collections.abc import Collection, Sequence

from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.rule_use import (
    MISUSED_BELOW,
    BenignRefusals,
    Dispute,
    RuleUse,
    list_benign_refusals,
    list_disputes,
    measure_rule_use,
)
from aidsafe_dagster.reports.sections import (
    EMPTY_CELL,
    Section,
    Table,
    format_count,
    format_quantity,
    format_share,
    format_signed,
)

TITLE = "Rules of the policies"
TO_READ = 3
"""Transcripts named in each line."""
_MOST_LINES = 20
_MOST_NAMED = 6
_RULE_CHARS = 90
_PROMPT_CHARS = 120
GONE = "(no rule of the policies in force)"


def rules_section(dataset: Dataset, policies: Policies) -> Section:
    """Return what the policies' author takes to the next meeting."""
    return section_of(measure_rule_use(dataset), dataset, policies)


def section_of(use: RuleUse, dataset: Dataset, policies: Policies) -> Section:
    """Return the section of what was measured."""
    if not use.rows and not use.debates:
        return Section(TITLE, "No prompt has been deliberated yet.")
    disputes = list_disputes(use)
    refusals = list_benign_refusals(use)
    # What may have to be mended comes first, and the long table last.
    tables = []
    if disputes:
        tables.append(_dispute_table(use, disputes))
    if refusals:
        tables.append(_refusal_table(use, refusals, policies))
    if misused := _misused_rules(use):
        tables.append(_misuse_table(use, misused, policies))
    if use.not_agreed:
        tables.append(_open_rules_table(use, policies))
        tables.append(_open_prompts_table(use, dataset))
    tables.append(_use_table(use, policies))
    return Section(TITLE, " ".join(_findings(use, policies)), tables)


def _findings(use: RuleUse, policies: Policies) -> list[str]:
    """Return what stands out, a sentence each."""
    findings = []
    conflicts = [one for one in list_disputes(use) if one.is_conflict]
    if conflicts:
        names = [" and ".join(one.rules) for one in conflicts[:_MOST_NAMED]]
        findings.append(f"Rules that stand against each other: {'; '.join(names)}.")
    else:
        findings.append("No pair of rules stands out against each other.")
    causes = [one for one in list_benign_refusals(use) if one.excess > 0]
    if causes:
        first = causes[0]
        findings.append(
            f"Benign prompts are declined most where {first.rule} is cited: "
            f"{len(first.prompts)} of {first.rows}."
        )
    misused = _misused_rules(use)
    if misused:
        first_misused = misused[0]
        count = len(use.misused(first_misused))
        findings.append(f"Misused most: {first_misused}, on {_prompts(count)}.")
    uncited = [rule for rule in policies.rule_ids if not use.cited[rule]]
    if uncited:
        findings.append(f"No final chain of thought cites: {_listing(uncited)}.")
    return findings


def _use_table(use: RuleUse, policies: Policies) -> Table:
    rows = []
    to_read = []
    for rule in _known_rules(use, policies):
        policy = rule.partition(".")[0]
        rows.append(
            (
                rule,
                _text_of(rule, policies),
                format_count(len(use.applicable[policy])),
                format_count(len(use.discussed[rule])),
                format_count(len(use.cited[rule])),
                format_count(len(use.misused(rule))),
                format_count(len(use.unresolved[rule])),
            )
        )
        to_read.append(_first(use.cited[rule] or use.discussed[rule]))
    note = (
        f"Prompts, of {format_count(use.rows)} whose intents are known. Applies: its policy does. "
        "Discussed: a thought of the deliberation cites it. Cited: the final chain of thought "
        "does. Misused: the refiner dropped a thought that cites it as inconsistent with the "
        f"policies, or a judge named it beside a faithfulness below {MISUSED_BELOW}. Open: the "
        "agents ended without agreement while they argued by it."
    )
    columns = (
        "rule",
        "what it says",
        "applies",
        "discussed",
        "cited",
        "misused",
        "open",
    )
    return Table(
        "Each rule", columns, tuple(rows), note, text_columns=2, to_read=tuple(to_read)
    )


def _misused_rules(use: RuleUse) -> list[str]:
    """Return the misused rules, by share of the prompts that discuss them."""
    rules = {*use.dropped, *use.blamed}
    misused = [rule for rule in rules if use.misused(rule)]
    misused.sort(key=lambda rule: (-len(use.misused(rule)), rule))
    return misused


def _misuse_table(use: RuleUse, misused: Sequence[str], policies: Policies) -> Table:
    rows = []
    to_read = []
    for rule in misused[:_MOST_LINES]:
        count = len(use.misused(rule))
        discussed = len(use.discussed[rule] | use.misused(rule))
        rows.append(
            (
                rule,
                _text_of(rule, policies),
                format_count(len(use.dropped[rule])),
                format_count(len(use.blamed[rule])),
                format_share(count, discussed),
            )
        )
        to_read.append(_first(use.misused(rule)))
    note = "Share: of the prompts on which it is discussed."
    return Table(
        "Rules that are misused",
        ("rule", "what it says", "by the refiner", "by a judge", "share"),
        tuple(rows),
        note,
        text_columns=2,
        to_read=tuple(to_read),
    )


def _open_rules_table(use: RuleUse, policies: Policies) -> Table:
    rules = [rule for rule, prompts in use.unresolved.items() if prompts]
    rules.sort(key=lambda rule: (-len(use.unresolved[rule]), rule))
    rows = []
    to_read = []
    for rule in rules[:_MOST_LINES]:
        count = len(use.unresolved[rule])
        rows.append(
            (
                rule,
                _text_of(rule, policies),
                format_count(count),
                format_share(count, len(use.discussed[rule])),
            )
        )
        to_read.append(_first(use.unresolved[rule]))
    note = (
        f"{format_count(len(use.not_agreed))} of {format_count(use.debates)} deliberations ended "
        "without agreement. Share: of the deliberations that cite the rule."
    )
    return Table(
        "Rules that agents did not agree on",
        ("rule", "what it says", "prompts", "share"),
        tuple(rows),
        note,
        text_columns=2,
        to_read=tuple(to_read),
    )


def _open_prompts_table(use: RuleUse, dataset: Dataset) -> Table:
    ids = sorted(use.not_agreed)
    shown = ids[:_MOST_LINES]
    texts = dataset.rows(Stage.PROMPTS, "prompt_id", "prompt", prompt_ids=shown)
    by_id = dict(texts.iter_rows())
    rows = []
    for prompt_id in shown:
        rules = sorted(use.not_agreed[prompt_id])
        prompt = _cut(by_id.get(prompt_id, EMPTY_CELL), _PROMPT_CHARS)
        rows.append((prompt, ", ".join(rules) or EMPTY_CELL))
    note = ""
    if len(ids) > len(shown):
        note = (
            f"{format_count(len(shown))} of {format_count(len(ids))}; `aidsafe view` has all, "
            "under the outcome budget."
        )
    return Table(
        "Prompts on which agents ended without agreement",
        ("prompt", "argued by at the end"),
        tuple(rows),
        note,
        text_columns=2,
        to_read=tuple((prompt_id,) for prompt_id in shown),
    )


def _dispute_table(use: RuleUse, disputes: Sequence[Dispute]) -> Table:
    rows = []
    to_read = []
    marked = set()
    for place, dispute in enumerate(disputes[:_MOST_LINES]):
        first, second = dispute.rules
        rows.append(
            (
                f"{first} and {second}",
                format_count(dispute.together),
                format_count(len(dispute.prompts)),
                format_share(len(dispute.prompts), dispute.together),
                format_count(dispute.not_agreed),
            )
        )
        to_read.append(_first(dispute.prompts))
        if dispute.is_conflict:
            marked.add(place)
    note = (
        f"Of {format_count(use.debates)} deliberations. Against each other: one agent argued by "
        "one, the next by the other, and somebody by the first again; or an agent, the refiner or "
        "a judge named both as a conflict; or the agents did not agree, and the last turns were "
        "one by each, or all by both. Marked: more often than rules do that merely follow each "
        "other. The clearest conflict is first."
    )
    return Table(
        "Rules against each other",
        ("rules", "cited together", "against each other", "share", "not agreed"),
        tuple(rows),
        note,
        marked=frozenset(marked),
        to_read=tuple(to_read),
    )


def _refusal_table(
    use: RuleUse, refusals: Sequence[BenignRefusals], policies: Policies
) -> Table:
    rows = []
    to_read = []
    for one in refusals[:_MOST_LINES]:
        rows.append(
            (
                one.rule,
                _text_of(one.rule, policies),
                format_count(one.rows),
                format_count(len(one.prompts)),
                format_share(len(one.prompts), one.rows),
                format_share(one.other_prompts, one.other_rows),
                f"{format_signed(100 * one.excess, 1)} pp",
            )
        )
        to_read.append(_first(one.prompts))
    note = (
        f"{format_count(len(use.refused_rows))} of {format_count(len(use.benign_rows))} benign "
        "prompts are declined, in part at least, as a judge sees it. A rule that is cited where "
        "they are declined, and not elsewhere, is the likeliest cause; it comes first."
    )
    columns = (
        "rule",
        "what it says",
        "benign prompts that cite it",
        "declined",
        "share",
        "share of the others",
        "difference",
    )
    return Table(
        "Rules behind needless refusals",
        columns,
        tuple(rows),
        note,
        text_columns=2,
        to_read=tuple(to_read),
    )


def _known_rules(use: RuleUse, policies: Policies) -> list[str]:
    """Return the rules in force, and then those that rows cite under earlier policies."""
    in_force = set(policies.rule_ids)
    earlier = {rule for rule, prompts in use.cited.items() if prompts} - in_force
    return [*policies.rule_ids, *sorted(earlier)]


def _text_of(rule: str, policies: Policies) -> str:
    if rule not in policies.rule_ids:
        return GONE
    return _cut(policies.rule(rule), _RULE_CHARS)


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _first(prompts: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(prompts)[:TO_READ])


def _prompts(count: int) -> str:
    return format_quantity(count, "prompt", "prompts")


def _listing(rules: Sequence[str]) -> str:
    shown = ", ".join(rules[:_MOST_NAMED])
    more = len(rules) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
