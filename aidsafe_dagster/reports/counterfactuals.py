"""Section: prompts whose right answer differs under two sets of policies."""

from collections import Counter
from collections.abc import Sequence

from aidsafe_dagster.recipe.records import (
    EXCLUSION_REASONS,
    PolicyCounterfactual,
    Stage,
)
from aidsafe_dagster.reports.frames import Dataset, read_records
from aidsafe_dagster.reports.sections import (
    Section,
    Table,
    format_count,
    format_number,
    format_share,
)

TITLE = "Policy counterfactuals"
_EXAMPLES = 3
_MOST_CHARS = 600
_INTRO = (
    "The same prompt under two sets of policies. A pair is kept where each answer is right under "
    "its own set and wrong under the other one, as the judges see it, so that only the policies "
    "tell which answer is due."
)


def counterfactuals_section(dataset: Dataset) -> Section | None:
    """Count the pairs, and show three side by side; None where the stage was never made."""
    if not dataset.batches_of(Stage.POLICY_COUNTERFACTUALS):
        return None
    kept = dataset.rows(
        Stage.POLICY_COUNTERFACTUALS,
        "prompt_id",
        "first_outcome",
        "second_outcome",
    )
    tables = [_reasons(dataset, kept.height)]
    if kept.height:
        outcomes = Counter(kept.select("first_outcome", "second_outcome").iter_rows())
        tables.append(_outcomes(outcomes))
        # The ids are hashes, so nobody has picked these.
        ids = kept["prompt_id"].unique().sort().head(_EXAMPLES).to_list()
        rows = read_records(
            dataset, Stage.POLICY_COUNTERFACTUALS, PolicyCounterfactual, set(ids)
        )
        tables += [_example(rows[one]) for one in ids if one in rows]
    return Section(TITLE, _INTRO, tables)


def _reasons(dataset: Dataset, kept: int) -> Table:
    """Count what became of every graded prompt, failed ones included."""
    failures = dataset.failures.filter(stage=str(Stage.POLICY_COUNTERFACTUALS))
    counts = Counter(failures["reason"].to_list())
    total = kept + failures.height
    lines = [("kept as a pair", format_count(kept), format_share(kept, total))]
    for reason, count in counts.most_common():
        verb = "left out" if reason in EXCLUSION_REASONS else "failed"
        name = f"{verb}: {reason.replace('_', ' ')}"
        lines.append((name, format_count(count), format_share(count, total)))
    columns = ("what became of it", "prompts", "share")
    return Table("Prompts asked under a second set", columns, tuple(lines))


def _outcomes(counts: Counter[tuple[str, str]]) -> Table:
    lines = []
    for (first, second), count in counts.most_common():
        lines.append((first, second, format_count(count)))
    columns = ("first set", "second set", "pairs")
    return Table(
        "What the right answers come to", columns, tuple(lines), text_columns=2
    )


def _example(row: PolicyCounterfactual) -> Table:
    lines = (
        ("policies alone there", _listed(row.only_first), _listed(row.only_second)),
        ("comes to", row.first_outcome, row.second_outcome),
        (
            "score, own set",
            format_number(row.first_score),
            format_number(row.second_score),
        ),
        (
            "score, other set",
            format_number(row.first_score_under_second),
            format_number(row.second_score_under_first),
        ),
        ("thoughts", _cut(row.first_cot), _cut(row.second_cot)),
        ("response", _cut(row.first_response), _cut(row.second_response)),
    )
    return Table(
        f"Prompt {row.prompt_id}",
        ("", "first set", "second set"),
        lines,
        note=f"“{_cut(row.whole)}”",
        text_columns=3,
    )


def _listed(lines: Sequence[str]) -> str:
    return _cut("; ".join(lines)) or "nothing"


def _cut(text: str) -> str:
    """Return the beginning of a text as one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]}…"
