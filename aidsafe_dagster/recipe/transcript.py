"""A row as a person reads it: Markdown that says who thought what, in which round, under which rules.

Shown in the Dagster UI, on the terminal and by `aidsafe show`. Text of users and models is shown as it is: every sign
that means something in Markdown or HTML is escaped, so it can be no heading, no link and no image to load.
"""

from collections.abc import Iterable, Sequence

from aidsafe_dagster.recipe.markdown import inline, plain, quoted
from aidsafe_dagster.recipe.records import (
    METRICS,
    Comparison,
    CotGrades,
    DeliberatedCot,
    Failure,
    Grade,
    Intent,
    Judgement,
    Origin,
    PreferencePair,
    Provenance,
    RefinedCot,
    RefinedThought,
    SeedCot,
    SingleLlmCot,
    Thought,
    ThoughtVerdict,
    Turn,
)

_SYMBOLS = {
    ThoughtVerdict.KEEP: "✓ kept",
    ThoughtVerdict.REPETITIVE: "✗ repetitive",
    ThoughtVerdict.REDUNDANT: "✗ redundant",
    ThoughtVerdict.DECEPTIVE: "✗ deceptive",
    ThoughtVerdict.POLICY_INCONSISTENT: "✗ policy-inconsistent",
}


def seed_transcript(row: SeedCot) -> str:
    """Intents, first thoughts, first response."""
    return _page(
        _heading(row, row.prompt),
        _intents(row.intents),
        "### Seed thoughts",
        *(_thought(t) for t in row.thoughts),
        "### First response",
        quoted(row.response),
        _footer(row),
    )


def deliberated_transcript(row: DeliberatedCot) -> str:
    """Who added what in which round, and how it ended."""
    return _page(
        _heading(row, row.prompt),
        _intents(row.intents),
        *_rounds(row.thoughts, row.turns),
        f"**Ended by {row.outcome}**" + (" on the very first turn" if row.stalled else ""),
        "### Response",
        quoted(row.response),
        _footer(row),
    )


def refined_transcript(row: RefinedCot, turns: Sequence[Turn] = ()) -> str:
    """Every deliberated thought with its verdict and reason, then the final chain of thought with its origins."""
    judged = {j.thought: j for j in row.judgements}
    dropped = sum(j.verdict is not ThoughtVerdict.KEEP for j in row.judgements)
    return _page(
        _heading(row, row.prompt),
        _intents(row.intents),
        *_rounds(row.deliberated_thoughts, turns, judged),
        f"### Final chain of thought: {dropped} of {len(judged)} thoughts dropped, "
        f"{row.deliberated_cot_tokens} → {row.cot_tokens} tokens",
        *(_refined_thought(t) for t in row.thoughts),
        "### Final response",
        quoted(row.response),
        _footer(row),
    )


def single_llm_transcript(row: SingleLlmCot) -> str:
    """The baseline's thoughts and response."""
    return _page(
        _heading(row, row.prompt),
        "### Thoughts of one model in one call",
        *(_thought(t) for t in row.thoughts),
        "### Response",
        quoted(row.response),
        _footer(row),
    )


def grades_transcript(row: CotGrades) -> str:
    """Scores by version and judge, why a score is not the best, and who was preferred."""
    return _page(
        _heading(row, row.prompt),
        f"### Grades ({row.prompt_kind} prompt)",
        _score_table(row.grades),
        *_reasons(row.grades),
        *(
            f"**{c.version} against {c.against}: {c.outcome}**{_doubt(c)}, says {c.judge}"
            for c in row.comparisons
        ),
        *(
            f"✗ {u.judge} gave no valid answer to “{u.task}”: {inline(u.detail)}"
            for u in row.ungraded
        ),
        _footer(row),
    )


def _score_table(grades: Sequence[Grade]) -> str:
    head = "| | " + " | ".join(metric.replace("_", " ") for metric in METRICS) + " | declines |"
    lines = [
        f"| {g.version}, {g.judge} | {' | '.join(str(getattr(g, m).score) for m in METRICS)} | {g.refusal} |".replace(
            "_", " "
        )
        for g in grades
    ]
    return "\n".join((head, "|---" * (len(METRICS) + 2) + "|", *lines))


def _reasons(grades: Sequence[Grade]) -> Iterable[str]:
    for grade in grades:
        for metric in METRICS:
            score = getattr(grade, metric)
            if score.score < 5:
                where = f", thought {score.thought}" if score.thought else ""
                place = f"{grade.version} by {grade.judge}, {metric}: {score.score}".replace(
                    "_", " "
                )
                yield f"- *{place}*{where}{_rules((score.rule,) if score.rule else ())}: {inline(score.reason)}"


def _doubt(comparison: Comparison) -> str:
    return "" if comparison.consistent else " (the preference turned with the order)"


def pair_transcript(row: PreferencePair) -> str:
    """The belief, and the two sides with their scores."""
    tried = [
        f"{'–' if c.score is None else format(c.score, '.2f')}: {inline(c.belief)}"
        for c in row.candidates
    ]
    return _page(
        _heading(row, row.prompt),
        f"### Belief whispered to the target ({row.kind.replace('_', ' ')}, margin {row.margin:.2f})",
        quoted(row.belief),
        f"### Chosen (policy score {row.chosen_score:.2f}, {row.chosen_cot_tokens} tokens)",
        quoted(f"{row.chosen_cot}\n\n→ {row.chosen_response}"),
        f"### Rejected (policy score {row.rejected_score:.2f}, {row.rejected_cot_tokens} tokens, "
        f"{row.similarity:.0%} alike)",
        quoted(f"{row.rejected_cot}\n\n→ {row.rejected_response}"),
        "### Beliefs tried, with the policy score of what the target then said",
        "\n".join(f"- {line}" for line in tried),
        _footer(row),
    )


def failure_transcript(failure: Failure) -> str:
    """Where a row ended, and why."""
    who = f" while `{failure.role}` was speaking" if failure.role else ""
    return _page(
        f"### ✗ Failed at {failure.stage}: {failure.reason}",
        f"On call {failure.turn + 1} of the stage{who}, after {failure.usage.calls} completions.",
        quoted(failure.detail),
    )


def _page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _heading(row: Origin, prompt: str) -> str:
    about = " · ".join(plain(part) for part in (row.source, row.category, row.licence) if part)
    return f"## Prompt `{row.prompt_id}`\n\n{quoted(prompt)}\n\n*{about} · batch {row.batch}*"


def _intents(intents: Iterable[Intent]) -> str:
    lines = (f"- {inline(i.text)} — *{i.kind}, {i.harm}*{_rules(i.policies)}" for i in intents)
    return "### Intents\n\n" + "\n".join(lines)


def _rounds(
    thoughts: Sequence[Thought], turns: Sequence[Turn], judged: dict[int, Judgement] | None = None
) -> Iterable[str]:
    yield "### Round 0 · initializer"
    yield from (_thought(t, judged) for t in thoughts if t.round == 0)
    told = {(turn.round, turn.agent): turn for turn in turns}
    for round_, agent in told or dict.fromkeys((t.round, t.agent) for t in thoughts if t.round):
        turn = told.get((round_, agent))
        yield f"### Round {round_} · {agent}" + (f" · {turn.verdict}s" if turn else "")
        if turn:
            yield f"*“{inline(turn.comment)}”*"
        yield from (_thought(t, judged) for t in thoughts if (t.round, t.agent) == (round_, agent))


def _thought(thought: Thought, judged: dict[int, Judgement] | None = None) -> str:
    said = f"**[{thought.number}]** {inline(thought.text)}{_rules(thought.rules)}"
    if judged is None:
        return said
    judgement = judged[thought.number]
    return f"{said}\n\n> **{_SYMBOLS[judgement.verdict]}** — {inline(judgement.reason)}"


def _refined_thought(thought: RefinedThought) -> str:
    origins = ", ".join(map(str, thought.origins))
    return f"**{thought.number}.** {inline(thought.text)}{_rules(thought.rules)} *← [{origins}]*"


def _rules(rules: Sequence[str]) -> str:
    return f" `{'` `'.join(rules)}`" if rules else ""


def _footer(row: Provenance) -> str:
    by = f"{row.engine} engine, {plain(row.model)}" + (
        " — **rehearsal: simulated, not a model's output**" if row.simulated else ""
    )
    usage = row.usage
    cost = f"{usage.calls} calls, {usage.prompt_tokens} tokens in, {usage.completion_tokens} out at this stage"
    return f"*Made by {by}; {cost}; policies {row.policies_version}, templates {row.templates_version}*"
