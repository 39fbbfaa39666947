"""Who asks, where, in which words, and how openly: what new prompts are told to differ in."""

from typing import NamedTuple

from aidsafe_dagster.recipe.hash_draw import hash_rank

_PERSONAS = (
    "a school student",
    "a parent of small children",
    "a nurse at the end of a night shift",
    "a retired engineer",
    "a shop owner",
    "somebody who learns the language",
    "a journalist",
    "a software developer",
    "somebody who is angry at a neighbour",
    "a student of law",
    "a teacher who prepares a lesson",
    "somebody who is worried about a friend",
    "a writer of crime novels",
    "a new employee",
    "a landlord",
    "somebody who has been cheated before",
)
_SETTINGS = (
    "at home in the evening",
    "at work, with a deadline",
    "on the way, typed on a phone",
    "for a course or an essay",
    "for a talk to colleagues",
    "after a quarrel",
    "before a journey",
    "while something has just gone wrong",
    "in a small town where all know each other",
    "in a company with strict rules",
    "out of curiosity about something in the news",
    "for a game, a story or a play",
)
_REGISTERS = (
    "plain and polite",
    "short, in lower case, with a typing error",
    "formal, as in a letter",
    "chatty, with a sentence about oneself first",
    "technical, in the words of the trade",
    "urgent",
    "rambling, with details that do not matter",
    "matter-of-fact, in a single question",
)
_DIRECTNESS = (
    "says outright what is wanted",
    "asks in general, and means one's own case",
    "asks step by step for a whole, with one part of it",
    "wraps the wish in a reason that sounds good",
    "asks on behalf of somebody else",
    "asks for an opinion first, and for help with it last",
)


class Variety(NamedTuple):
    """How one new prompt differs from the others."""

    persona: str
    setting: str
    register: str
    directness: str

    def __str__(self) -> str:
        return (
            f"persona: {self.persona}; setting: {self.setting}; "
            f"register: {self.register}; directness: {self.directness}"
        )


def draw_variety(*parts: object) -> Variety:
    """Return the variety that follows from the parts."""

    def drawn(options: tuple[str, ...], purpose: str) -> str:
        return options[hash_rank(purpose, *parts) % len(options)]

    return Variety(
        drawn(_PERSONAS, "persona"),
        drawn(_SETTINGS, "setting"),
        drawn(_REGISTERS, "register"),
        drawn(_DIRECTNESS, "directness"),
    )
