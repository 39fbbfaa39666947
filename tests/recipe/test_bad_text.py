"""Each predicate knows its kind of bad text in any script, and leaves good text alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aidsafe_dagster.recipe.bad_text import (
    announcement,
    bare_identifier,
    cut,
    echo,
    placeholder,
    repeats_prompt,
    rule_mention,
    says_nothing,
    short_placeholder,
)
from aidsafe_dagster.recipe.loops import loop
from aidsafe_dagster.recipe.stages import load_templates
from aidsafe_dagster.settings.schema import PACKAGE, Settings

PROMPT = "How do I pick a lock?"
POLICIES = ("fraud", "physical_harm")
Predicate = Callable[[str, str], str | None]

PLACEHOLDERS = [
    "...",
    "…",
    ",",
    "**`",
    " _ ",
    "。。。",
    "\ufffd\ufffd",
    "──────",
    "<rule id>",
    "<rule_id>",
    "{{x}}",
    "{{ thought }}",
    "{thought}",
    "<your thought here>",
    "<Ihre Antwort>",
    "＜你的回答＞",
    "<ответ>",
    "[insert the response here]",
    "[Your response]",
    "[此处填写回答]",
    "(response)",
    "<...>",
    "%s",
    "${response}",
    "string",
    "Thought",
    '"response"',
    "explicit",
    "intent_decomposer",
    "Thought 1",
    "Intent 2.",
    "policy_inconsistent",
    "... [response]",
    "thought, rules, response",
    '{"thought": "...", "rules": ["<rule id>"]}',
    "The user asks: [user_prompt]",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
]

GOOD = [
    "Yes.",
    "No",
    "42",
    "👍",
    "是的，可以。",
    "نعم، يمكنك ذلك.",
    "Ja, mit etwas Übung.",
    "[1, 2, 3]",
    "<br>",
    '<a href="x">lock</a>',
    "```python\nprint({x for x in range(3)})\n```",
    '{"locks": [1, 2]}',
    "(a + b)²",
    "The response to this question depends on the lock.",
    "Think of the string that holds the pins.",
    "First I name the intent, then the reason for it.",
    "Dear [Your Name], thank you for the lock.",
    "1. Lift a pin.\n2. Turn the plug.",
    "Sure: lift the pins one by one.",
    "I can't help with that.",
    "Thank you for asking! Start with a clear practice lock.",
    "《红楼梦》",
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_known(text: str) -> None:
    assert placeholder(text, PROMPT)


@pytest.mark.parametrize("text", GOOD)
@pytest.mark.parametrize(
    "predicate", [placeholder, short_placeholder, bare_identifier, says_nothing, loop]
)
def test_good_text_passes_every_predicate(predicate: Predicate, text: str) -> None:
    assert predicate(text, PROMPT) is None


def test_a_word_of_the_prompt_is_an_answer() -> None:
    prompt = "Is this lump benign or malignant? Say it as {{x}}."
    assert placeholder("Benign.", PROMPT)
    assert placeholder("Benign.", prompt) is None


def test_a_short_text_may_be_a_single_value() -> None:
    assert short_placeholder("Agree.", PROMPT) is None
    assert short_placeholder("reason", PROMPT)
    assert short_placeholder("...", PROMPT)
    assert short_placeholder("<why>…</why>", PROMPT) is None
    assert short_placeholder("<the reason>", PROMPT)


@pytest.mark.parametrize(
    "text",
    ["the_unintended_policy", "Intent_Decomposer_LIMIT_2", "refine_cots.1", "rule.3"],
)
def test_a_name_alone_is_no_thought(text: str) -> None:
    assert bare_identifier(text, PROMPT)
    assert bare_identifier(f"I think of {text} first.", PROMPT) is None
    assert bare_identifier(text, f"What is {text}?") is None


SENTENCE = "We lift the pins one by one and feel for the one that binds. "


def test_a_text_that_ends_at_its_bound_is_cut() -> None:
    assert cut("A lock.", 7)
    assert cut("A lock.", 8) is None
    assert cut("锁" * 300, 300)


@pytest.mark.parametrize("end", ["and then", "with a,", "because:", "锁和", "ثم", "3"])
def test_a_long_text_that_ends_in_mid_sentence_near_its_bound_is_cut(end: str) -> None:
    text = SENTENCE * 5 + end
    assert cut(text, len(text) + 3)
    assert cut(text, 2 * len(text)) is None


@pytest.mark.parametrize(
    "end", [".", "!", "。", "؟", "।", '."', ")", "```", "」", "🙂", "…"]
)
def test_closing_punctuation_of_any_script_ends_a_text(end: str) -> None:
    text = SENTENCE * 5 + f"Done{end}"
    assert cut(text, len(text) + 3) is None


def test_a_short_text_near_its_bound_is_not_cut() -> None:
    assert cut("No full stop here", 18) is None


@pytest.mark.parametrize(
    "text",
    [
        "Hello!",
        "Hi there! How can I help you today?",
        "Sure.",
        "Of course!",
        "Guten Tag!",
        "Bonjour",
        "¡Hola! Buenos días.",
        "你好！",
        "مرحبا",
        "Здравствуйте!",
        "Thank you.",
        "How do I pick a lock?",
        "how do i pick a LOCK",
        "Here is the answer:",
        "**Antwort:**",
        "以下是我的回答：",
    ],
)
def test_a_response_without_content_says_nothing(text: str) -> None:
    assert says_nothing(text, PROMPT)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Hello! How can I help you?", "Hi!"),
        ("Merci.", "Say thanks in French."),
        ("こんにちは", "What is a Japanese greeting?"),
        ("你好！", "你好"),
        ("Here are two ways:\n- rake it\n- lift the pins", PROMPT),
        ("How do I pick a lock? With a pick.", PROMPT),
        ("Paris", "paris"),
        ("Good night's sleep helps.", PROMPT),
    ],
)
def test_a_response_that_fits_its_prompt_says_something(text: str, prompt: str) -> None:
    assert says_nothing(text, prompt) is None


def test_a_thought_that_only_announces_or_repeats_the_prompt_is_known() -> None:
    assert announcement("The intent of the task is:", PROMPT)
    assert announcement("The intent is this: a lock.", PROMPT) is None
    assert repeats_prompt("How do I pick a lock", PROMPT)
    assert repeats_prompt("如何开锁", "如何开锁？")


@pytest.mark.parametrize(
    "text",
    [
        "This follows from fraud.3 above.",
        "Under physical_harm I say no.",
        "Physical_Harm.12 applies.",
        "So I decline (rules: none).",
        "[3: fraud.1, other.2] So I decline.",
        "[12] So I decline.",
        "So I decline (rules: physical_harm.2, fraud.1)",
        "The rule <rule id> applies.",
        "This follows rule 2 of Physical harm.",
        "Physical harm 4 asks for a warning.",
        "physical-harm.4 asks for a warning.",
        "The physical harm policy asks for a warning.",
        "Policies: physical harm.",
        "Per rule 4, a warning is due.",
        "Rule 4 says that a warning is due.",
        "According to the policies above, a warning is due.",
        "No policy applies to this prompt.",
        "The policy requires me to warn.",
    ],
)
def test_rule_ids_are_known_in_running_text(text: str) -> None:
    assert rule_mention(text, PROMPT, POLICIES)
    assert rule_mention(text, f"What does “{text}” mean?", POLICIES) is None


@pytest.mark.parametrize(
    "text",
    [
        "Fraud. 3 people lost their money.",
        "It would do physical harm.",
        "The house has rules (rules: no shoes, no smoke).",
        "See fraud.example and antifraud.3 for more.",
        "I keep to the rule of thumb.",
        "Physical harm 2 years ago still counts.",
        "As a rule, physical harm comes from haste.",
        "The store's physical harm policy of 2020 is short.",
        "Rule 4 of the house forbids it, and rule 34 too.",
        "The policies above a certain sum need a check.",
    ],
)
def test_plain_words_are_no_rule_ids(text: str) -> None:
    assert rule_mention(text, PROMPT, POLICIES) is None


def _sample_prompts() -> list[str]:
    texts = []
    for file in sorted(Path(PACKAGE / "samples").glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            values = json.loads(line).values()
            texts += [text for text in values if " " in str(text)]
    return texts


def test_what_people_ask_passes_every_predicate() -> None:
    texts = _sample_prompts()
    assert len(texts) > 100
    for text in texts:
        for predicate in (placeholder, short_placeholder, bare_identifier, loop):
            assert predicate(text, "Hm?") is None, text
        assert rule_mention(text, "Hm?", POLICIES) is None, text


WORDING = load_templates(Settings().prompts).wording


@pytest.mark.parametrize(
    "text",
    [
        "Bleach and vinegar give off chlorine gas, which injures the lungs. The user does not seem"
        " to know, so this comes first.",
        "please do not mix them: they give off chlorine gas. Vinegar alone takes off limescale. Mix"
        " them, and you will never be able to clean your whole bathroom again in your life.",
        "Look at all thoughts so far and at the response. What is missing, wrong, too strict or"
        " too lax under the policies?",
        "A response is the whole text that the user reads.",
    ],
    ids=["example", "altered", "task", "form"],
)
def test_the_words_of_the_task_and_of_its_example_are_an_echo(text: str) -> None:
    reason = echo(text, "How do I boil an egg?", WORDING)
    assert reason is not None
    assert "repeats the task" in reason


@pytest.mark.parametrize(
    "text",
    [
        "Chlorine gas is what bleach and an acid give off, so I should warn the user of it first.",
        "The user asks for a way around a lock. Under the law of most countries that is fine for"
        " one's own door, and I can keep what is useful to them.",
        "Please do not mix these two.",
        "",
    ],
)
def test_what_is_about_the_same_matter_in_other_words_is_no_echo(text: str) -> None:
    assert echo(text, "How do I clean a lock?", WORDING) is None


def test_words_that_the_prompt_has_as_well_are_no_echo() -> None:
    text = (
        "How much bleach and how much vinegar do I mix for the bathroom? None at all."
    )
    prompt = "My friend asked: How much bleach and how much vinegar do I mix for the bathroom?"
    assert echo(text, "How do I clean it?", WORDING) is not None
    assert echo(text, prompt, WORDING) is None
