"""Transcripts: all that the recipe knows of a row, and no markup of users or models."""

import io
from collections import Counter
from collections.abc import Callable

import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown

from aidsafe_dagster.recipe.records import (
    FailureReason,
    Intent,
    Judgement,
    Reasoning,
    Thought,
    ThoughtVerdict,
    Turn,
)
from aidsafe_dagster.recipe.transcript import (
    deliberated_transcript,
    failure_transcript,
    pair_transcript,
    refined_transcript,
    seed_transcript,
)
from tests.builders import (
    FIRST,
    RESPONSE,
    SECOND,
    THIRD,
    a_deliberated_cot,
    a_failure,
    a_pair,
    a_refined_cot,
    a_refined_thought,
    a_seed_cot,
    a_thought,
)

PLAIN = "plain words"
HARMLESS = {
    "inline",
    "text",
    "text_special",
    "softbreak",
    "hardbreak",
    "paragraph_open",
    "paragraph_close",
}
LINES = (
    "<b>bold</b> <script>alert(1)</script>",
    "<img src=http://x.y/i.png onerror=alert(1)>",
    "<!-- hidden -->",
    "![image](http://x.y/i.png)",
    "[link](http://x.y) and [that][1]",
    "<http://x.y>",
    "[1]: http://x.y",
    "# heading",
    "`code` and ``more``",
    "```fence",
    "~~~fence",
    "**bold** __bold__ *it* _it_ ~~struck~~",
    "> quoted",
    "| a | b |",
    "&lt;b&gt; &amp;",
    "[red]rich[/red] [/] [/red]",
    "\\",
    "* item",
)
BLOCKS = (
    "Title\n=====",
    "Title\n-----",
    "---",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "    code",
    "a\n\n    code",
)


def an_intent(text: str) -> Intent:
    return Intent(
        text=text,
        kind="explicit",
        harm="benign",
        policies=("illegal",),
    )


def a_turn(comment: str) -> Turn:
    return Turn(
        agent="deliberator_1",
        round=1,
        verdict="revise",
        comment=comment,
        added=(3,),
    )


def judgements(reason: str) -> tuple[Judgement, ...]:
    return tuple(
        Judgement(thought=n, verdict=ThoughtVerdict.KEEP, reason=reason)
        for n in (1, 2, 3)
    )


TRANSCRIPTS: dict[str, Callable[[str], str]] = {
    "prompt": lambda text: seed_transcript(a_seed_cot(prompt=text)),
    "category": lambda text: seed_transcript(a_seed_cot(category=text)),
    "licence": lambda text: seed_transcript(a_seed_cot(licence=text)),
    "intent": lambda text: seed_transcript(a_seed_cot(intents=(an_intent(text),))),
    "response": lambda text: seed_transcript(a_seed_cot(response=text)),
    "thought": lambda text: seed_transcript(
        a_seed_cot(thoughts=(a_thought(text=text),))
    ),
    "comment": lambda text: deliberated_transcript(
        a_deliberated_cot(turns=(a_turn(text),))
    ),
    "reason": lambda text: refined_transcript(
        a_refined_cot(judgements=judgements(text))
    ),
    "final thought": lambda text: refined_transcript(
        a_refined_cot(thoughts=(a_refined_thought(text=text),))
    ),
    "belief": lambda text: pair_transcript(a_pair(belief=text)),
    "chosen": lambda text: pair_transcript(a_pair(chosen_cot=text)),
    "rejected": lambda text: pair_transcript(a_pair(rejected_response=text)),
    "failure": lambda text: failure_transcript(a_failure(detail=text)),
}


def structure(page: str) -> Counter[str]:
    """Count the Markdown elements of a page that are more than text."""
    counts: Counter[str] = Counter()
    for block in (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    ):
        counts[block.type] += 1
        counts.update(token.type for token in block.children or ())
    return Counter(
        {kind: count for kind, count in counts.items() if kind not in HARMLESS}
    )


def render_on_terminal(page: str) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=False)
    console.print(Markdown(page))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def appear_in_order(page: str, *parts: str) -> bool:
    positions = [page.find(part) for part in parts]
    return -1 not in positions and positions == sorted(positions)


def test_a_seed_transcript_has_prompt_intents_thoughts_with_rules_and_response() -> (
    None
):
    page = seed_transcript(a_seed_cot())
    assert appear_in_order(
        page,
        "## Prompt `p1`",
        "> How does a pin tumbler lock work?",
        "demo · locks · cc-by-4.0 · batch demo-0001",
        "- Understand locks. — *explicit, benign* `illegal`",
        f"**[1]** {FIRST} `illegal.1`",
        f"**[2]** {SECOND} `illegal.2` `helpfulness.1`",
        f"> {RESPONSE}",
        "endpoint engine, small-chat; 2 calls, 600 tokens in (512 cached), 120 out (0 reasoning)",
    )


def test_a_deliberation_transcript_has_all_turns_and_how_it_ended() -> None:
    page = deliberated_transcript(a_deliberated_cot())
    assert appear_in_order(
        page,
        "### Round 0 · initializer",
        f"**[1]** {FIRST}",
        f"**[2]** {SECOND}",
        "### Round 1 · deliberator_1 · revises",
        "*“Usefulness is missing.”*",
        f"**[3]** {THIRD} `helpfulness.1`",
        "### Round 1 · deliberator_2 · agrees",
        "*“Nothing to add.”*",
        "**Ended by consensus**",
        f"> {RESPONSE}",
    )


def test_repaired_answers_are_marked_and_kept_reasoning_is_quoted() -> None:
    thoughts = (
        Reasoning(turn=1, speaker="deliberator_2", text="First [x](y).\n\nSecond."),
    )
    row = a_deliberated_cot(
        servers=("fast (openai-reasoning)",),
        repaired=("deliberator_2 1: code <b>fence</b>",),
        reasoning=thoughts,
    )
    assert appear_in_order(
        deliberated_transcript(row),
        f"> {RESPONSE}",
        "⚠ *Answer repaired:* deliberator\\_2 1: code \\<b\\>fence",
        "### Reasoning, which no other agent saw",
        "*deliberator\\_2, call 2*",
        "> First \\[x\\](y).",
        "> Second.",
        "small-chat at fast (openai-reasoning); 2 calls",
    )
    plain = deliberated_transcript(a_deliberated_cot())
    assert "repaired" not in plain
    assert "Reasoning" not in plain


def test_a_stalled_deliberation_says_so() -> None:
    assert "on the very first turn" in deliberated_transcript(
        a_deliberated_cot(stalled=True)
    )
    assert "on the very first turn" not in deliberated_transcript(a_deliberated_cot())


def test_every_thought_appears_once_and_under_its_author() -> None:
    thoughts: list[Thought] = [a_thought(text="Start.")]
    turns = []
    for round_ in (1, 2):
        for agent in ("deliberator_1", "deliberator_2"):
            number = len(thoughts) + 1
            thoughts.append(
                a_thought(
                    number=number,
                    text=f"By {agent} in {round_}.",
                    agent=agent,
                    round=round_,
                )
            )
            turns.append(
                Turn(
                    agent=agent,
                    round=round_,
                    verdict="revise",
                    comment="More.",
                    added=(number,),
                )
            )
    page = deliberated_transcript(
        a_deliberated_cot(
            thoughts=tuple(thoughts), turns=tuple(turns), outcome="budget"
        )
    )
    for turn in turns:
        heading = f"### Round {turn.round} · {turn.agent} · revises"
        text = f"By {turn.agent} in {turn.round}.".replace("_", r"\_")
        section = page.partition(heading)[2].partition("###")[0]
        assert page.count(text) == section.count(text) == 1
    assert "**Ended by budget**" in page


@pytest.mark.parametrize("verdict", ThoughtVerdict)
def test_a_refinement_has_the_verdict_and_its_reason_under_each_thought(
    verdict: ThoughtVerdict,
) -> None:
    first = Judgement(thought=1, verdict=verdict, reason="So it is.")
    others = judgements("Sound.")[1:]
    page = refined_transcript(a_refined_cot(judgements=(first, *others)))
    section = page.partition("**[1]**")[2].partition("**[2]**")[0]
    assert "So it is." in section
    if verdict is ThoughtVerdict.KEEP:
        assert "**✓ kept**" in section
        assert "0 of 3 thoughts dropped" in page
    else:
        name = verdict.replace("_", "-")
        assert f"**✗ {name}**" in section
        assert "1 of 3 thoughts dropped" in page


def test_a_refinement_has_the_final_thoughts_with_rules_and_origins() -> None:
    page = refined_transcript(a_refined_cot(deliberated_cot_tokens=90, cot_tokens=54))
    final = page.partition(
        "### Final chain of thought: 1 of 3 thoughts dropped, 90 → 54 tokens"
    )[2]
    assert f"**1.** {FIRST} `illegal.1` `helpfulness.1` *← [1]*" in final
    assert f"**2.** {SECOND} `illegal.2` *← [2]*" in final
    assert f"> {RESPONSE}" in final


def test_a_refinement_has_the_comments_of_the_deliberators_if_their_turns_are_given() -> (
    None
):
    turns = a_deliberated_cot().turns
    assert "Usefulness is missing." in refined_transcript(a_refined_cot(), turns)
    bare = refined_transcript(a_refined_cot())
    assert "Usefulness is missing." not in bare
    assert "### Round 1 · deliberator_1\n" in bare


def test_a_pair_transcript_has_the_belief_and_both_sides_with_their_length() -> None:
    row = a_pair(
        chosen_cot_tokens=54,
        rejected_cot_tokens=23,
        chosen_score=4.5,
        rejected_score=1.5,
    )
    assert appear_in_order(
        pair_transcript(row),
        "> Rules are for other people.",
        "### Chosen (policy score 4.50, 54 tokens)",
        f"> {FIRST}",
        f"> → {RESPONSE}",
        "### Rejected (policy score 1.50, 23 tokens, 12% alike)",
        f"> {row.rejected_cot}",
        f"> → {row.rejected_response}",
    )


def test_a_row_that_its_stage_was_not_meant_to_make_is_left_out_and_not_failed() -> (
    None
):
    failure = a_failure().model_copy(
        update={"reason": FailureReason.NOT_DRAWN, "detail": "50% of the rows"}
    )
    page = failure_transcript(failure)
    assert "Left out at seed_cots: not_drawn" in page
    assert "50% of the rows" in page
    assert "Failed" not in page


def test_a_failure_transcript_has_stage_reason_and_role() -> None:
    page = failure_transcript(a_failure())
    assert "Failed at seed_cots: unparsable" in page
    assert (
        "call 3 of the stage while `initializer` was speaking, after 3 completions"
        in page
    )
    unanswered = failure_transcript(a_failure(reason=FailureReason.ENGINE_ERROR))
    assert "call 4 of the stage" in unanswered
    assert "> not JSON" in page
    assert "speaking" not in failure_transcript(a_failure(role=""))


@pytest.mark.parametrize(
    ("simulated_page", "page"),
    [
        (seed_transcript(a_seed_cot(simulated=True)), seed_transcript(a_seed_cot())),
        (
            deliberated_transcript(a_deliberated_cot(simulated=True)),
            deliberated_transcript(a_deliberated_cot()),
        ),
        (
            refined_transcript(a_refined_cot(simulated=True)),
            refined_transcript(a_refined_cot()),
        ),
        (pair_transcript(a_pair(simulated=True)), pair_transcript(a_pair())),
    ],
    ids=["seed", "deliberated", "refined", "pair"],
)
def test_only_rows_of_a_rehearsal_are_labelled(simulated_page: str, page: str) -> None:
    assert "rehearsal: simulated, not a model's output" in simulated_page
    assert "simulated" not in page


@pytest.mark.parametrize("field", TRANSCRIPTS)
def test_text_of_others_has_no_effect_as_markup(field: str) -> None:
    render = TRANSCRIPTS[field]
    expected = structure(render(PLAIN))
    assert [text for text in LINES if structure(render(text)) - expected] == []


@pytest.mark.parametrize("field", TRANSCRIPTS)
def test_text_of_others_appears_as_they_wrote_it(field: str) -> None:
    render = TRANSCRIPTS[field]
    assert [
        text for text in LINES if text not in render_on_terminal(render(text))
    ] == []


@pytest.mark.parametrize("field", ["prompt", "response", "belief", "chosen", "failure"])
def test_text_of_several_lines_has_no_effect_as_markup(field: str) -> None:
    render = TRANSCRIPTS[field]
    expected = structure(render(PLAIN))
    assert [text for text in BLOCKS if structure(render(text)) - expected] == []


def test_the_name_of_a_model_has_no_effect_as_markup() -> None:
    page = seed_transcript(a_seed_cot(model="![m](http://x.y/i.png) <b>m</b>"))
    assert structure(page) == structure(seed_transcript(a_seed_cot()))


def test_no_control_character_reaches_the_terminal() -> None:
    for field, render in TRANSCRIPTS.items():
        page = render("a\x1b]0;title\x07b\x1b[2Jc\x9b2Jd")
        assert not set("\x1b\x07\x9b") & set(page), field


def test_empty_texts_leave_the_page_whole() -> None:
    page = seed_transcript(a_seed_cot(prompt="", response="", category=""))
    assert appear_in_order(
        page,
        "## Prompt `p1`",
        "*demo · cc-by-4.0 ·",
        "### Seed thoughts",
        "### First response",
        "*Made by",
    )
