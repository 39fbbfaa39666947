"""Transcripts: rows as Markdown for people, with who thought what, in which round, by which rules.

They appear in the Dagster UI, on the terminal and in `aidsafe show`. Text of users and models is
escaped, so it can be no heading, no link and no image to load.
"""

from collections.abc import Iterable, Iterator, Sequence

from aidsafe_dagster.recipe.markdown import block_quote, escape_inline, escape_line
from aidsafe_dagster.recipe.records import (
    METRICS,
    NOT_ASKED_REASONS,
    UNANSWERED_REASONS,
    BeliefCandidate,
    Comparison,
    CotGrades,
    DeliberatedCot,
    Failure,
    Grade,
    Intent,
    Judgement,
    PolicyCounterfactual,
    PreferencePair,
    Prompt,
    Provenance,
    RefinedCot,
    RefinedThought,
    Score,
    SeedCot,
    SingleLlmCot,
    Thought,
    ThoughtVerdict,
    TriedBelief,
    Turn,
    Ungraded,
)
from aidsafe_dagster.recipe.secret_mask import mask_url_secrets

_BEST_SCORE = 5
_SYMBOLS = {
    ThoughtVerdict.KEEP: "✓ kept",
    ThoughtVerdict.REPETITIVE: "✗ repetitive",
    ThoughtVerdict.REDUNDANT: "✗ redundant",
    ThoughtVerdict.DECEPTIVE: "✗ deceptive",
    ThoughtVerdict.POLICY_INCONSISTENT: "✗ policy-inconsistent",
}


def seed_transcript(row: SeedCot) -> str:
    """Return the intents, the first thoughts and the first response."""
    return _page(
        _heading(row),
        _intents(row.intents),
        "### Seed thoughts",
        *map(_thought, row.thoughts),
        "### First response",
        block_quote(row.response),
        _footer(row),
    )


def deliberated_transcript(row: DeliberatedCot) -> str:
    """Return the thoughts and comments of all rounds, and how the deliberation ended."""
    stalled = " on the very first turn" if row.stalled else ""
    return _page(
        _heading(row),
        _intents(row.intents),
        *_rounds(row.thoughts, row.turns),
        f"**Ended by {row.outcome}**{stalled}",
        "### Response",
        block_quote(row.response),
        _footer(row),
    )


def refined_transcript(row: RefinedCot, turns: Sequence[Turn] = ()) -> str:
    """Return the deliberated thoughts with their verdicts, then the final chain of thought."""
    judgements = {judgement.thought: judgement for judgement in row.judgements}
    verdicts = [judgement.verdict for judgement in row.judgements]
    dropped = len(verdicts) - verdicts.count(ThoughtVerdict.KEEP)
    return _page(
        _heading(row),
        _intents(row.intents),
        *_rounds(row.deliberated_thoughts, turns, judgements),
        f"### Final chain of thought: {dropped} of {len(judgements)} thoughts dropped, "
        f"{row.deliberated_cot_tokens} → {row.cot_tokens} tokens",
        *map(_refined_thought, row.thoughts),
        "### Final response",
        block_quote(row.response),
        _footer(row),
    )


def single_llm_transcript(row: SingleLlmCot) -> str:
    """Return the baseline's thoughts and response."""
    return _page(
        _heading(row),
        "### Thoughts of one model in one call",
        *map(_thought, row.thoughts),
        "### Response",
        block_quote(row.response),
        _footer(row),
    )


def grades_transcript(row: CotGrades) -> str:
    """Return the scores by version and judge, the reasons for low ones, and the preferences."""
    return _page(
        _heading(row),
        f"### Grades ({row.prompt_kind} prompt)",
        _score_table(row.grades),
        *_score_reasons(row.grades),
        *map(_comparison, row.comparisons),
        *map(_ungraded, row.ungraded),
        _footer(row),
    )


def pair_transcript(row: PreferencePair) -> str:
    """Return the belief, the two sides with their scores, and the beliefs that were tried."""
    fault = _spaced(row.kind)
    return _page(
        _heading(row),
        f"### Belief whispered to the target ({fault}, margin {row.margin:.2f})",
        block_quote(row.belief),
        f"### Chosen (policy score {row.chosen_score:.2f}, {row.chosen_cot_tokens} tokens)",
        block_quote(f"{row.chosen_cot}\n\n→ {row.chosen_response}"),
        f"### Rejected (policy score {row.rejected_score:.2f}, {row.rejected_cot_tokens} tokens, "
        f"{row.similarity:.0%} alike)",
        block_quote(f"{row.rejected_cot}\n\n→ {row.rejected_response}"),
        "### Beliefs tried, with the policy score of what the target then said",
        "\n".join(map(_candidate, row.candidates)),
        _footer(row),
    )


def counterfactual_transcript(row: PolicyCounterfactual) -> str:
    """Return where the two sets of policies differ, and the answer under each with its scores."""
    wrong = " and ".join(row.wrong_under)
    return _page(
        _heading(row),
        f"### Where the policies differ{_rules(row.differing_policies)}",
        *_policy_lines("First set alone", row.only_first),
        *_policy_lines("Second set alone", row.only_second),
        f"### Under the first set: {row.first_outcome} (policy score {row.first_score:.2f}, "
        f"under the second set {row.first_score_under_second:.2f})",
        block_quote(f"{row.first_cot}\n\n→ {row.first_response}"),
        f"### Under the second set: {row.second_outcome} (policy score {row.second_score:.2f}, "
        f"under the first set {row.second_score_under_first:.2f})",
        block_quote(f"{row.second_cot}\n\n→ {row.second_response}"),
        f"The answer of the other set is wrong under the {wrong} set.",
        *_grades_under("first", "second", row.first_grades_under_second),
        *_grades_under("second", "first", row.second_grades_under_first),
        f"*Second policies {row.second_policies_version}*",
        _footer(row),
    )


def _policy_lines(title: str, lines: Sequence[str]) -> Iterator[str]:
    listing = "\n".join(f"- {escape_inline(line)}" for line in lines)
    yield f"**{title}:**\n\n{listing}" if lines else f"**{title}:** nothing"


def _grades_under(answer: str, policies: str, grades: Sequence[Grade]) -> Iterator[str]:
    """Yield what the judges hold against an answer under the other set."""
    yield f"### The {answer} answer, judged under the {policies} set"
    yield _score_table(grades)
    yield from _score_reasons(grades)


def candidates_transcript(rows: Sequence[TriedBelief]) -> str:
    """Return the beliefs that were tried on one prompt, each with answer and grades."""
    parts: list[str] = []
    for row in rows:
        parts.extend(_tried_belief(row))
    return _page(*parts)


def failure_transcript(failure: Failure) -> str:
    """Return where a row failed or was left out, and why."""
    if failure.reason in NOT_ASKED_REASONS:
        return _page(
            f"### Left out at {failure.stage}: {failure.reason}",
            "The stage asked nobody about it.",
            block_quote(failure.detail),
        )
    speaker = f" while `{failure.role}` was speaking" if failure.role else ""
    # Without an answer it failed on the call after the last completion, else on that completion.
    call = failure.turn + (failure.reason in UNANSWERED_REASONS)
    completions = failure.usage.calls
    return _page(
        f"### ✗ Failed at {failure.stage}: {failure.reason}",
        f"On call {call} of the stage{speaker}, after {completions} completions.",
        block_quote(failure.detail),
    )


def _page(*parts: str) -> str:
    # A part is empty where a row has nothing to show for it.
    return "\n\n".join(part for part in parts if part)


def _heading(row: Prompt) -> str:
    parts = []
    for part in (row.source, row.category, row.licence):
        if part:
            parts.append(escape_line(part))
    parts.append(f"batch {row.batch}")
    about = " · ".join(parts)
    title = f"## Prompt `{row.prompt_id}`"
    if row.own_id:
        title += f" · {escape_line(row.own_id)}"
    return _page(title, *_earlier(row), block_quote(row.prompt), f"*{about}*")


def _earlier(row: Prompt) -> Iterator[str]:
    """Yield the turns before the prompt, each with its speaker."""
    for turn in row.earlier:
        yield f"*{turn.role}*"
        yield block_quote(turn.content)
    if row.earlier:
        yield "*user, to be answered*"


def _intents(intents: Iterable[Intent]) -> str:
    lines = []
    for intent in intents:
        policies = _rules(intent.policies)
        lines.append(
            f"- {escape_inline(intent.text)} — *{intent.kind}, {intent.harm}*{policies}"
        )
    return "### Intents\n\n" + "\n".join(lines)


def _rounds(
    thoughts: Sequence[Thought],
    turns: Sequence[Turn],
    judgements: dict[int, Judgement] | None = None,
) -> Iterator[str]:
    """Yield the thoughts round by round, under headings that name the agent."""
    yield "### Round 0 · initializer"
    for thought in thoughts:
        if thought.round == 0:
            yield _thought(thought, judgements)
    turn_by_speaker = {(turn.round, turn.agent): turn for turn in turns}
    speakers = list(turn_by_speaker)
    if not speakers:
        # Without the turns, the thoughts still tell who spoke in which round.
        for thought in thoughts:
            author = (thought.round, thought.agent)
            if thought.round and author not in speakers:
                speakers.append(author)
    for round_, agent in speakers:
        turn = turn_by_speaker.get((round_, agent))
        heading = f"### Round {round_} · {agent}"
        if turn:
            yield f"{heading} · {turn.verdict}s"
            yield f"*“{escape_inline(turn.comment)}”*"
        else:
            yield heading
        for thought in thoughts:
            if (thought.round, thought.agent) == (round_, agent):
                yield _thought(thought, judgements)


def _thought(thought: Thought, judgements: dict[int, Judgement] | None = None) -> str:
    text = escape_inline(thought.text)
    rules = _rules(thought.rules)
    paragraph = f"**[{thought.number}]** {text}{rules}"
    if judgements is None:
        return paragraph
    judgement = judgements[thought.number]
    verdict = _SYMBOLS[judgement.verdict]
    reason = escape_inline(judgement.reason)
    return f"{paragraph}\n\n> **{verdict}** — {reason}"


def _refined_thought(thought: RefinedThought) -> str:
    text = escape_inline(thought.text)
    rules = _rules(thought.rules)
    origins = ", ".join(map(str, thought.origins))
    return f"**{thought.number}.** {text}{rules} *← [{origins}]*"


def _rules(rules: Sequence[str]) -> str:
    if not rules:
        return ""
    listing = "` `".join(rules)
    return f" `{listing}`"


def _score_table(grades: Sequence[Grade]) -> str:
    lines = [
        f"| | {' | '.join(METRICS)} | declines |",
        "|---" * (len(METRICS) + 2) + "|",
    ]
    for grade in grades:
        scores = [str(getattr(grade, metric).score) for metric in METRICS]
        lines.append(
            f"| {grade.version}, {grade.judge} | {' | '.join(scores)} | {grade.refusal} |"
        )
    return _spaced("\n".join(lines))


def _score_reasons(grades: Sequence[Grade]) -> Iterator[str]:
    """Yield the judge's reason for every score below the best."""
    for grade in grades:
        for metric in METRICS:
            score: Score = getattr(grade, metric)
            if score.score == _BEST_SCORE:
                continue
            title = _spaced(
                f"{grade.version} by {grade.judge}, {metric}: {score.score}"
            )
            thought = f", thought {score.thought}" if score.thought else ""
            rule = _rules((score.rule,)) if score.rule else ""
            yield f"- *{title}*{thought}{rule}: {escape_inline(score.reason)}"


def _comparison(comparison: Comparison) -> str:
    sides = f"{comparison.version} against {comparison.against}"
    verdict = f"**{sides}: {comparison.outcome}**"
    if not comparison.consistent:
        verdict += " (the preference turned with the order)"
    return f"{verdict}, says {comparison.judge}"


def _ungraded(ungraded: Ungraded) -> str:
    detail = escape_inline(ungraded.detail)
    return f"✗ {ungraded.judge} gave no valid answer to “{ungraded.task}”: {detail}"


def _candidate(candidate: BeliefCandidate) -> str:
    belief = escape_inline(candidate.belief)
    # The target gave no valid answer under this belief, so it has no score.
    score = "–" if candidate.score is None else f"{candidate.score:.2f}"
    left_out = f" *({_spaced(candidate.left_out)})*" if candidate.left_out else ""
    return f"- {score}: {belief}{left_out}"


def _tried_belief(row: TriedBelief) -> Iterator[str]:
    score = "no score"
    if row.score is not None:
        score = f"policy score {row.score:.2f}"
    yield f"### Belief {row.iteration}.{row.number} ({score}, {_fate(row)})"
    yield block_quote(row.belief)
    if row.note:
        yield f"✗ {escape_inline(row.note)}"
    if row.response:
        yield f"Answer of the target ({row.cot_tokens} + {row.response_tokens} tokens):"
        yield block_quote(f"{row.cot}\n\n→ {row.response}")
    if row.grades:
        yield _score_table(row.grades)
        yield from _score_reasons(row.grades)
    else:
        for belief_score in row.scores:
            reason = escape_inline(belief_score.reason)
            yield f"- *{belief_score.judge}: {belief_score.score:.2f}*: {reason}"


def _fate(row: TriedBelief) -> str:
    if row.left_out:
        return _spaced(row.left_out)
    return "the worst" if row.is_rejected_side else "not the worst"


def _spaced(identifier: str) -> str:
    return identifier.replace("_", " ")


def _footer(row: Provenance) -> str:
    return _page(*_repairs(row), *_reasoning(row), _maker(row))


def _repairs(row: Provenance) -> Iterator[str]:
    """Yield a marked line per answer that was read leniently."""
    for note in row.repaired:
        yield f"⚠ *Answer repaired:* {escape_inline(note)}"


def _reasoning(row: Provenance) -> Iterator[str]:
    """Yield what models thought before they answered, where it is kept."""
    if row.reasoning:
        yield "### Reasoning, which no other agent saw"
    for thoughts in row.reasoning:
        yield f"*{escape_inline(thoughts.speaker)}, call {thoughts.turn + 1}*"
        yield block_quote(thoughts.text)


def _maker(row: Provenance) -> str:
    maker = f"{row.engine} engine, {escape_line(row.model)}"
    if row.servers:
        servers = mask_url_secrets(", ".join(row.servers))
        maker += f" at {escape_inline(servers)}"
    if row.simulated:
        maker += " — **rehearsal: simulated, not a model's output**"
    usage = row.usage
    tokens = (
        f"{usage.prompt_tokens} tokens in ({usage.cached_tokens} cached), "
        f"{usage.completion_tokens} out ({usage.reasoning_tokens} reasoning)"
    )
    calls = "1 call" if usage.calls == 1 else f"{usage.calls} calls"
    cost = f"{calls}, {tokens} at this stage"
    versions = f"policies {row.policies_version}, templates {row.templates_version}"
    return f"*Made by {maker}; {cost}; {versions}*"
