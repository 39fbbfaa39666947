"""How the text of an answer is read: what counts as one, what is mended, what is asked again."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aidsafe_dagster.recipe.answers import (
    AnswerFormat,
    DeliberatorAnswer,
    EarWhispererAnswer,
    InitializerAnswer,
    IntentDecomposerAnswer,
    ModeratorAnswer,
    NotAnAnswer,
    Parsed,
    RefinerAnswer,
    ScoreAnswer,
)

RULES = ("fraud.1", "fraud.2", "fraud.11")
FORMAT = AnswerFormat(DeliberatorAnswer, {"rules": RULES}, {})
REFINER = AnswerFormat(RefinerAnswer, {"rules": RULES}, {"thoughts": 2})
SCORE = AnswerFormat(ScoreAnswer, {}, {})

ANSWER: dict[str, Any] = {
    "comment": "It lacks {care}.",
    "verdict": "revise",
    "thoughts": [{"thought": 'They ask "how".', "rules": ["fraud.1"]}],
    "response": "I can't, and won't …",
}
STRICT = json.dumps(ANSWER)
DRAFT = STRICT.replace("revise", "agree")


def parse(text: str) -> Parsed[DeliberatorAnswer]:
    return FORMAT.parse(text)


def changed(**fields: Any) -> str:
    return json.dumps(ANSWER | fields)


def with_rules(rules: object) -> str:
    return changed(thoughts=[{"thought": "They ask.", "rules": rules}])


def refined(**fields: Any) -> str:
    answer = {
        "judgements": [{"verdict": "keep", "reason": "Sound."}] * 2,
        "thoughts": [{"thought": "They ask.", "rules": [], "origins": [1]}],
        "response": "No.",
    }
    return json.dumps(answer | fields)


@pytest.mark.parametrize("text", [STRICT, json.dumps(ANSWER, indent=2), f" {STRICT}\n"])
def test_a_strict_answer_has_no_repairs_and_its_text_stays_as_it_is(text: str) -> None:
    parsed = parse(text)
    assert parsed.repairs == ()
    assert parsed.text == text
    assert parsed.answer.model_dump() == ANSWER


WRAPPINGS = {
    "think": ("<think>\nOkay {so}.\n</think>\n\n{}", "reasoning block"),
    "its end alone": ('Okay, {carefully} 5" he.\n</think>\n\n{}', "reasoning block"),
    "a draft in it": (f"<think>{DRAFT}</think>{{}}", "reasoning block"),
    "an unclosed draft in it": (f"<think>{DRAFT[:40]}</think>{{}}", "reasoning block"),
    "thinking": ("<thinking>Hm.</thinking>{}", "reasoning block"),
    "reasoning": ("<Reasoning>Hm.</Reasoning>{}", "reasoning block"),
    "seed": ("<seed:think>Hm.</seed:think>{}", "reasoning block"),
    "brackets": ("[THINK]Hm.[/THINK]{}", "reasoning block"),
    "triangles": ("◁think▷Hm.◁/think▷{}", "reasoning block"),
    "tokens": ("<|START_THINKING|>Hm.<|END_THINKING|>{}", "reasoning block"),
    "channels": (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
        "<|channel|>final <|constrain|>json<|message|>{}<|return|>",
        "reasoning block, control tokens",
    ),
    "bare channels": ("analysisWe need {it}.assistantfinal{}", "reasoning block"),
    "two blocks": ("<think>a</think>\n<think>b</think>{}", "reasoning block"),
    "never left": ("<think>So it is:\n{}", "reasoning block"),
    "closed after it": ("<think>So it is:\n{}\n</think>\n", "reasoning block"),
    "fence": ("```json\n{}\n```", "fence"),
    "tildes": ("~~~\n{}\n~~~", "fence"),
    "an open fence": ("```\n{}", "fence"),
    "fence in prose": (
        "Here is the JSON:\n```json\n{}\n```\nShall I go on?",
        "fence, prose around the JSON",
    ),
    "reasoning and fence": (
        "Okay.</think>\n```json\n{}\n```",
        "reasoning block, fence",
    ),
    "prose": ("Sure! {} Anything else?", "prose around the JSON"),
    "braces in prose": ("By {x | x > 1}: {}", "prose around the JSON"),
    "a draft": (f"{DRAFT}\nNo, rather:\n{{}}", "prose around the JSON"),
    "another object": ('{"note": 1}\n{}', "prose around the JSON"),
    "end token": ("{}<|im_end|>", "control tokens"),
    "byte order mark": ("\ufeff{}", "control tokens"),
    "list": ("[{}]", "list of one"),
    "object": ('{"answer": {}}', "answer one level down"),
    "object of a list": ('{"result": [{}]}', "answer one level down"),
    "call": ('{"name": "reply", "arguments": {}}', "answer one level down"),
}


@pytest.mark.parametrize(("wrapping", "repairs"), WRAPPINGS.values(), ids=WRAPPINGS)
def test_what_stands_around_an_answer_is_left_out(wrapping: str, repairs: str) -> None:
    parsed = parse(wrapping.replace("{}", STRICT))
    assert parsed.answer.model_dump() == ANSWER
    assert ", ".join(parsed.repairs) == repairs
    assert parsed.text == json.dumps(ANSWER, ensure_ascii=False)


SYNTAX = {
    "single quotes": repr(ANSWER),
    "inner quotes": STRICT.replace('\\"', '"'),
    "trailing comma": STRICT[:-1] + ",}",
    "comment": STRICT[:-1] + "  // that is all\n}",
    "no quotes around keys": STRICT.replace('"verdict"', "verdict"),
    "encoded twice": json.dumps(STRICT),
    "escaped": json.dumps(STRICT)[1:-1],
    "encoded inside": json.dumps({"answer": STRICT}),
}


@pytest.mark.parametrize("text", SYNTAX.values(), ids=SYNTAX)
def test_faulty_json_is_mended(text: str) -> None:
    parsed = parse(text)
    assert parsed.answer.model_dump() == ANSWER
    assert parsed.repairs


def test_an_unpaired_quotation_mark_in_a_string_is_kept() -> None:
    text = STRICT.replace('\\"how\\"', '5" wide')
    assert parse(text).answer.thoughts[0].thought == 'They ask 5" wide.'


def test_python_literals_are_mended() -> None:
    text = repr(ANSWER | {"thoughts": None, "sure": True})
    assert parse(text).answer.thoughts == []


def test_a_tag_in_a_string_ends_no_reasoning() -> None:
    for comment in ("It says </think>.", "<think> opens.", "<think>a</think>b"):
        assert parse("Here: " + changed(comment=comment)).answer.comment == comment


FORMS = {
    "extra keys": (changed(sure=1, note="\ud800"), "extra keys: sure, note"),
    "many extra keys": (
        changed(**dict.fromkeys("abcde", 1)),
        "extra keys: a, b, c and 2 more",
    ),
    "keys": (
        STRICT.replace('"verdict"', '"Verdict "').replace('"thoughts"', '"THOUGHTS"'),
        "spelling of keys",
    ),
    "capitals": (changed(verdict="REVISE"), "letter case: verdict"),
    "full stop": (changed(verdict="Revise."), "spelling: verdict"),
    "list": (changed(verdict=["revise"]), "list of one"),
    "one thought": (
        changed(thoughts=ANSWER["thoughts"][0]),
        "one item for a list: thoughts",
    ),
    "thoughts as text": (
        changed(thoughts=json.dumps(ANSWER["thoughts"])),
        "JSON in a string",
    ),
}


@pytest.mark.parametrize(("text", "repair"), FORMS.values(), ids=FORMS)
def test_small_faults_of_form_are_mended(text: str, repair: str) -> None:
    parsed = parse(text)
    assert parsed.answer.model_dump() == ANSWER
    assert parsed.repairs == (repair,)


@pytest.mark.parametrize(
    "verdict",
    ["Policy-Inconsistent", "policy inconsistent.", "PolicyInconsistent", "`Policy_…`"],
)
def test_a_verdict_may_be_spelt_otherwise(verdict: str) -> None:
    verdict = verdict.replace("…", "inconsistent")
    judgements = [{"verdict": verdict, "reason": "It is."}] * 2
    parsed = REFINER.parse(refined(judgements=judgements))
    assert parsed.answer.judgements[0].verdict == "policy_inconsistent"
    assert parsed.repairs


@pytest.mark.parametrize(
    ("rules", "ids"),
    [
        (["fraud.11: Do not, or else"], ["fraud.11"]),
        (["[Fraud.2]", "Rule fraud.1 - never"], ["fraud.2", "fraud.1"]),
        (["`fraud.2`", "FRAUD.1"], ["fraud.2", "fraud.1"]),
        (["Fraud and deception (fraud.2)"], ["fraud.2"]),
        (["fraud.1. Do not"], ["fraud.1"]),
        ("fraud.1, fraud.2 and fraud.11", ["fraud.1", "fraud.2", "fraud.11"]),
        ("fraud.1: no lies, no theft; fraud.2: no", ["fraud.1", "fraud.2"]),
        ("- fraud.1\n- fraud.2", ["fraud.1", "fraud.2"]),
        ('["fraud.1", "fraud.2"]', ["fraud.1", "fraud.2"]),
        (None, []),
        ("", []),
        ("None", []),
    ],
)
def test_rules_may_come_with_their_text_or_in_one_string(
    rules: object, ids: list[str]
) -> None:
    parsed = parse(with_rules(rules))
    assert parsed.answer.thoughts[0].rules == ids
    assert parsed.repairs


def test_a_bare_string_is_a_thought_without_rules() -> None:
    parsed = parse(changed(thoughts=["First.", "Then."]))
    assert [t.thought for t in parsed.answer.thoughts] == ["First.", "Then."]
    assert parsed.repairs == ("bare string for a thought",)
    assert [t.rules for t in parse(changed(thoughts="First.")).answer.thoughts] == [[]]


def test_where_texts_are_due_an_object_gives_its_text() -> None:
    for belief in ({"thought": "So."}, ["So."]):
        text = json.dumps({"belief": belief})
        parsed = AnswerFormat(EarWhispererAnswer, {}, {}).parse(text)
        assert parsed.answer == EarWhispererAnswer(belief="So.")
        assert parsed.repairs in (("object for a text",), ("list of one",))


@pytest.mark.parametrize("score", ["4", 4.0, "4.0", "4/5", "4 out of 5", [4]])
def test_a_score_may_be_a_text(score: object) -> None:
    parsed = SCORE.parse(json.dumps({"reason": "Good.", "score": score}))
    assert parsed.answer.score == 4
    assert parsed.repairs


@pytest.mark.parametrize("score", ["4/10", "4 to 5", "high", 4.5, True, 6, "6", None])
def test_a_score_on_another_scale_is_refused(score: object) -> None:
    with pytest.raises(NotAnAnswer, match="score"):
        SCORE.parse(json.dumps({"reason": "Good.", "score": score}))


@pytest.mark.parametrize("origins", [1, "1", "1, 2", "thought 1", ["#1", "2"]])
def test_origins_may_be_texts(origins: object) -> None:
    thought = {"thought": "They ask.", "rules": [], "origins": origins}
    parsed = REFINER.parse(refined(thoughts=[thought]))
    assert parsed.answer.thoughts[0].origins[0] == 1


@pytest.mark.parametrize(
    "text",
    [
        changed(comment="Two\nlines.").replace("\\n", "\n"),
        changed(verdict=" Revise "),
    ],
)
def test_a_text_that_earlier_releases_kept_as_written_stays_so(text: str) -> None:
    parsed = parse(text)
    assert len(parsed.repairs) == 1
    assert parsed.text == text


@pytest.mark.parametrize(
    "text",
    [
        STRICT[:-1],
        STRICT[:30],
        f"```json\n{STRICT[:-1]}",
        f"```json\n{STRICT[:-1]}\n```",
        f"{DRAFT}\nNo, rather:\n{STRICT[:60]}",
        '{"verdict": "revise", "thoughts": [{"thought": "a", "rules": []}',
        changed(response="use }")[:-2],
        json.dumps({"answer": ANSWER})[:-1],
        repr(ANSWER)[:-1],
    ],
)
def test_a_cut_answer_is_never_completed(text: str) -> None:
    with pytest.raises(NotAnAnswer, match="never closed"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"<think>{STRICT} Hm, no.", "the reasoning never ends"),
        (f"<think>{STRICT} Hm.</think>", "nothing comes after the reasoning"),
        (f"<think>{STRICT}</think>I will not.", "not JSON"),
        ("I will not.", "not JSON"),
        ("", "not JSON"),
        ('"I will not."', "valid dictionary"),
        ("null", "valid dictionary"),
        (changed(verdict="agree, but"), "'agree' or 'revise'"),
        (changed(comment=" "), "comment"),
        (changed(comment="x" * 301), "301 characters where 300 may be"),
        (changed(thoughts=["x"] * 5), "5 items where 4"),
        (STRICT.replace('"response"', '"reply"'), "'response' is empty"),
        (changed(response=None), "'response' is empty"),
        (with_rules(["fraud.3"]), "'fraud.3' is not one of fraud.1, fraud.2"),
        (with_rules(["fraud.1.1"]), "'fraud.1.1' is not one of"),
        (with_rules(["fraud.1 does not apply"]), "is not one of"),
        (with_rules("fraud.1: no lies, fraud.99"), "'fraud.99' is not one of"),
    ],
)
def test_what_breaks_the_bounds_is_refused_and_said(text: str, message: str) -> None:
    with pytest.raises(NotAnAnswer, match=message):
        parse(text)


def test_each_thought_needs_its_judgement_and_its_origins() -> None:
    judgements = [{"verdict": "keep", "reason": "Sound."}]
    with pytest.raises(NotAnAnswer, match="1 items where 2 are due"):
        REFINER.parse(refined(judgements=judgements))
    with pytest.raises(NotAnAnswer, match="origins': Field required"):
        REFINER.parse(refined(thoughts=["They ask."]))


def test_a_text_is_no_answer_even_where_only_a_response_must_be_given() -> None:
    moderator = AnswerFormat(ModeratorAnswer, {"rules": RULES}, {"agents": 2})
    with pytest.raises(NotAnAnswer):
        moderator.parse('"I will not."')


def test_one_intent_of_a_list_is_not_taken_for_the_answer() -> None:
    intent = {"intent": "a", "kind": "explicit", "harm": "Benign", "policies": None}
    intents = AnswerFormat(IntentDecomposerAnswer, {"policies": ("fraud",)}, {})
    parsed = intents.parse(json.dumps({"intents": intent}))
    assert parsed.answer.intents[0].harm == "benign"


def test_a_refused_value_is_quoted_in_part() -> None:
    with pytest.raises(NotAnAnswer) as error:
        parse(with_rules(["x" * 5000]))
    assert len(str(error.value)) < 300


MANY = 100_000
FLOODS = {
    "brackets": "[" * MANY,
    "braces": "{" * MANY,
    "objects": '{"a":' * MANY,
    "closed objects": '{"a":' * MANY + "1" + "}" * MANY,
    "closed lists": '{"a":' + "[" * MANY + "]" * MANY + "}",
    "empty objects": "{}" * MANY,
    "openings": "<think>" * MANY,
    "endings": "</think>" * MANY,
    "fences": "```" * MANY,
    "channels": "analysis " + "assistantfinal{" * MANY,
    "spaces": "{" + " " * MANY + "x",
    "single quotes": "{'a" * MANY + "}" * MANY,
    "backslashes": '{"' + "\\" * MANY,
    "keys": "{" + '"a":1,' * MANY + "}",
    "faulty objects": "{'a': 'b c'}" * MANY,
    "commas in rules": with_rules("x," * MANY),
    "spaces in rules": with_rules(f"fraud.1{' ' * MANY}x"),
    "thoughts": changed(thoughts=["x"] * MANY),
}


@pytest.mark.parametrize("text", FLOODS.values(), ids=FLOODS)
@pytest.mark.timeout(60)
def test_a_flood_of_one_sign_is_refused_in_linear_time(text: str) -> None:
    with pytest.raises(NotAnAnswer):
        parse(text)


# The same examples on every machine, however slow it is.
examples = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

PIECES = st.sampled_from(
    [
        *'{}[]",:\\',
        "'",
        "\n",
        "<think>",
        "</think>",
        "```json\n",
        "assistantfinal",
        "analysis",
        "<|channel|>final<|message|>",
        "// ",
        "null",
        "fraud.1",
        STRICT,
        STRICT[:50],
        STRICT[50:],
        *ANSWER,
    ]
)
ANY_TEXT = st.text(st.characters(exclude_categories=()))
TEXTS = ANY_TEXT | st.lists(PIECES | ANY_TEXT).map("".join)


@examples
@given(TEXTS)
def test_any_text_is_an_answer_or_is_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except NotAnAnswer:
        return
    assert parse(parsed.text).answer == parsed.answer
    assert parsed.text == text or parsed.repairs


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=8,
)


@examples
@given(st.dictionaries(st.sampled_from([*ANSWER, "Verdict", "x"]), JSON_VALUES))
def test_any_object_is_an_answer_or_is_refused(fields: dict[str, Any]) -> None:
    try:
        parsed = parse(json.dumps(ANSWER | fields))
    except NotAnAnswer:
        return
    assert parse(parsed.text).answer == parsed.answer


# Any characters but lone surrogates, which no answer may hold.
PROSE = st.text(st.characters(codec="utf-8"), max_size=60).filter(
    lambda text: text.strip() != ""
)
ANSWERS = st.fixed_dictionaries(
    {
        "thoughts": st.lists(
            st.fixed_dictionaries(
                {
                    "thought": PROSE,
                    "rules": st.lists(st.sampled_from(RULES), max_size=8),
                }
            ),
            min_size=1,
            max_size=5,
        ),
        "response": PROSE,
    }
)


def with_texts_of_rules(answer: dict[str, Any]) -> str:
    thoughts = []
    for thought in answer["thoughts"]:
        rules = [f"[{rule.upper()}]: Do not." for rule in thought["rules"]]
        thoughts.append(thought | {"rules": rules or None})
    return json.dumps(answer | {"thoughts": thoughts})


FAULTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "reasoning": lambda answer: f"Well.</think>{json.dumps(answer)}",
    "fence": lambda answer: f"Here:\n```json\n{json.dumps(answer)}\n```\nDone.",
    "unescaped": lambda answer: f"Here: {json.dumps(answer, ensure_ascii=False)}",
    "wrapped": lambda answer: json.dumps({"answer": answer}),
    "encoded twice": lambda answer: json.dumps(json.dumps(answer)),
    "trailing comma": lambda answer: f"{json.dumps(answer)[:-1]},}}",
    "comment": lambda answer: f"{json.dumps(answer)[:-1]} /* so, */}}",
    "capitals in keys": lambda answer: json.dumps(
        {key.title(): answer[key] for key in answer}
    ),
    "tag": lambda answer: f"It is <think>{json.dumps(answer)}",
    "rules with text": with_texts_of_rules,
    "extra keys": lambda answer: json.dumps({"note": None} | answer),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@examples
@given(answer=ANSWERS)
def test_a_mended_answer_is_the_answer_that_was_meant(
    fault: Callable[[dict[str, Any]], str], answer: dict[str, Any]
) -> None:
    initializer = AnswerFormat(InitializerAnswer, {"rules": RULES}, {})
    strict = initializer.parse(json.dumps(answer))
    assert strict.repairs == ()
    assert initializer.parse(fault(answer)).answer == strict.answer
