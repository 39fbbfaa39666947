"""Agent talk is detected in all the forms that agents leave, and ordinary prose does not match."""

import pytest

from aidsafe_dagster.recipe.agent_talk import agent_talk

AGENT_TALK = [
    "Agent 2 raised the matter of consent.",
    "As agent 2 noted, consent matters.",
    "Agent B said that consent matters.",
    "I agree with Agent B's point about consent.",
    "This follows from what deliberator_1 wrote.",
    "The other deliberator wants a warning here.",
    "I build on the previous agent here.",
    "The previous agents missed the second intent.",
    "As the other reviewer noted, the policy asks for more.",
    "Both agents agreed that a refusal is not needed.",
    "Reviewer 2 suggested a gentler tone.",
    "This was settled in round 2 of deliberation.",
    "After two rounds of deliberation the answer is clear.",
    "The response was revised in round 3.",
    "In round 3 we agreed on a warning.",
    "As thought 3 says, consent matters.",
    "Thought 3 covers the legal side.",
    "The legal side (see thought 3) is covered.",
    "Consent matters, which repeats thought 4.",
    "Thoughts 1 and 2 are merged here.",
    "My answer rests on thoughts 1-3.",
    "The refiner keeps the legal side.",
    "For this deliberation task the prompt is benign.",
    "In our deliberation the legal side was missing.",
    "The kept thoughts name two policies.",
    "As thought\n3 says, consent matters.",
    "As thought [3] says, consent matters.",
    "The previous reviewer missed the legal side.",
    "The other agents did not consider consent.",
    "The earlier thoughts cover the legal side.",
    "The first thought covers consent, the second one the law.",
    "This thought merges 1 and 3.",
    "Merging thoughts one and three, consent matters.",
    "I have judged each thought, and consent matters.",
    "The final chain of thought names the legal side.",
    "The intent decomposer found two intents.",
    "As an impartial refiner, I keep the legal side.",
    "The verdict is agree, since a warning is there.",
    "The task asks me to name the legal side.",
    "The response so far lacks a warning.",
    "The deliberation concluded that consent matters.",
]
ORDINARY = [
    "A real estate agent can list the house.",
    "The real estate agent said that 2 buyers came.",
    "Ask a travel agent about the fare.",
    "He worked as a secret agent for years.",
    "Agent Orange was sprayed over forests.",
    "The bleaching agent is corrosive.",
    "Pay the agent 2 percent of the price.",
    "Call your agent 3 times a day.",
    "An agent I hired for the sale was late.",
    "We played a round of golf.",
    "The paper goes through a second review round.",
    "He was knocked out in round 3 and lost the belt.",
    "In round 2 of the playoffs they lost.",
    "After the first round of chemotherapy she rested.",
    "I thought 3 people were coming.",
    "She thought 20 dollars was fair.",
    "They thought 2.",
    "On second thought, a warning is due.",
    "My first thought is that the user is curious.",
    "The line of thought is sound.",
    "A reviewer of the restaurant found it cold.",
    "The refinery stands by the river.",
    "The refiner of crude oil pays the tax.",
    "The jury's deliberations took two days.",
    "The jury agreed after a third round of deliberation.",
    "The deliberation concluded when the jury gave its verdict.",
    "The earlier thoughts of Kant on the matter differ.",
    "The first thought to have is for your own safety.",
    "Her chain of thought was broken by the phone.",
    "The verdict is guilty.",
    "The task is to list the parts.",
    "The current response of the circuit is slow.",
    "She kept thoughts of home to herself.",
    "An initializer sets the fields of the class.",
]


@pytest.mark.parametrize("text", AGENT_TALK)
def test_agent_talk_is_detected(text: str) -> None:
    assert agent_talk(f"First a plain sentence. {text}", prompt="How do locks work?")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_prose_does_not_match(text: str) -> None:
    assert (
        agent_talk(f"First a plain sentence. {text}", prompt="How do locks work?")
        is None
    )


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            "Who is Agent 47 in the game?",
            "Agent 47 is the hero, and Agent  47's suit is black.",
        ),
        (
            "what does THOUGHT 3 mean in my notes",
            "In the notes, thought 3 is a reminder.",
        ),
        (
            "Why did the refiner raise prices?",
            "The refiner raised prices because of demand.",
        ),
    ],
)
def test_words_of_the_prompt_may_be_repeated(prompt: str, text: str) -> None:
    assert agent_talk(text, prompt) is None
    assert agent_talk(text, "Something else.")


def test_words_of_the_prompt_excuse_no_other_phrase() -> None:
    assert agent_talk("Agent 4 said so.", prompt="Who is Agent 47?") == "Agent 4"
    assert agent_talk("Agent 4 said so.", prompt="Is reagent 4 safe?") == "Agent 4"
    text = "Agent 47 is the hero, as thought 3 says."
    assert agent_talk(text, prompt="Who is Agent 47?") == "thought 3"
