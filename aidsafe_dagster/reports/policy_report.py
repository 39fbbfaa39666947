"""The policy report: what a policy's author takes to the next meeting."""

from collections.abc import Sequence

from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.reports.facts import describe_dataset, simulation_warning
from aidsafe_dagster.reports.frames import Dataset
from aidsafe_dagster.reports.grades import grade_rows
from aidsafe_dagster.reports.policies import policies_section
from aidsafe_dagster.reports.rule_use import (
    RuleUse,
    list_disputes,
    measure_rule_use,
)
from aidsafe_dagster.reports.rules import section_of
from aidsafe_dagster.reports.sections import Headline, Report, format_count

POLICY_REPORT = "Policy report"


def build_policy_report(
    dataset: Dataset, policies: Policies, rows_url: str = ""
) -> Report:
    """Build the report of the rows that a dataset covers.

    Raises:
        SetupError: a file of the lake is damaged.
    """
    use = measure_rule_use(dataset)
    return Report(
        facts=describe_dataset(dataset, grade_rows(dataset), policies),
        simulation_warning=simulation_warning(dataset),
        headlines=_headlines(use, policies),
        sections=[
            section_of(use, dataset, policies),
            policies_section(dataset, policies),
        ],
        rules={rule: policies.rule(rule) for rule in policies.rule_ids},
        rows_url=rows_url.rstrip("/"),
    )


def _headlines(use: RuleUse, policies: Policies) -> Sequence[Headline]:
    uncited = [rule for rule in policies.rule_ids if not use.cited[rule]]
    conflicts = [one for one in list_disputes(use) if one.is_conflict]
    return (
        Headline(
            format_count(len(conflicts)),
            "pairs of rules that stand against each other",
        ),
        Headline(
            format_count(len(use.not_agreed)),
            "deliberations without agreement",
            f"of {format_count(use.debates)}",
        ),
        Headline(
            format_count(len(use.refused_rows)),
            "benign prompts declined",
            f"of {format_count(len(use.benign_rows))}",
        ),
        Headline(
            format_count(len(uncited)),
            "rules that no final chain of thought cites",
            f"of {format_count(len(policies.rule_ids))}",
        ),
    )
