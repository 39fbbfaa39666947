"""Text that is valid and worthless, each kind with a predicate that says what is wrong.

A predicate takes a text and the user's prompt and returns the reason in words, or None. Words of
the prompt are no evidence: "Is it benign or malicious?" may be answered in one of these words.
Loops are in `recipe/loops.py`; which field of which answer is held against which predicate, in
`recipe/bad_answers.py`. Languages are in `recipe/languages.py`.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Literal

from pydantic import Field, field_validator

from aidsafe_dagster.recipe.language_names import LANGUAGE_NAMES, PROMPTS_LANGUAGE
from aidsafe_dagster.recipe.loops import grams, tokens
from aidsafe_dagster.recipe.records import Record


class BadTextSettings(Record):
    """Which answers are asked for again, and fail a row that stays bad."""

    reject_placeholders: bool = True
    """Text that stands for text: "...", "<rule id>", "[your thought here]", words of the task."""
    reject_loops: bool = True
    """The same words again and again."""
    reject_cut_text: bool = True
    """Text that ends where the bound of its field is, or in mid-sentence."""
    reject_empty_responses: bool = True
    """Responses that only greet, announce an answer or repeat the prompt."""
    reject_rule_ids: bool = True
    """Rule and policy ids in the words of text that is trained on."""
    reject_rests_on_dropped: bool = True
    """Final thoughts that are made from dropped thoughts alone."""
    require_policy_coverage: bool = True
    """Final thoughts without a rule of each policy that applies. False: it is only reported."""
    reject_other_language: bool = True
    """Responses in another language than they have to be. Only what is sure counts."""
    language: str = "prompt"
    """What agents and target think and answer in: the prompt's language, or that of a code."""
    thoughts_language: Literal["prompt", "prompt_or_english", "any"] = "prompt"
    """What thoughts may be in: that language, or English as well, or any."""
    max_repeated_thoughts: Annotated[float, Field(ge=0, le=1)] = 0.34
    """Share of the thoughts of an answer that may say what an earlier one says."""
    max_repeated_deliberated: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The same before refinement, which is there to drop them."""

    @field_validator("language")
    @classmethod
    def _is_known(cls, language: str) -> str:
        if language != PROMPTS_LANGUAGE and language not in LANGUAGE_NAMES:
            raise ValueError(
                f"unknown language '{language}'. Valid: '{PROMPTS_LANGUAGE}', or one of "
                f"{', '.join(LANGUAGE_NAMES)}"
            )
        return language

    @property
    def language_name(self) -> str:
        """The English name of the one language; empty: that of the prompt."""
        return LANGUAGE_NAMES.get(self.language, "")


ACCEPT_ALL = BadTextSettings(
    reject_placeholders=False,
    reject_loops=False,
    reject_cut_text=False,
    reject_empty_responses=False,
    reject_rule_ids=False,
    reject_rests_on_dropped=False,
    require_policy_coverage=False,
    reject_other_language=False,
    max_repeated_thoughts=1,
    max_repeated_deliberated=1,
)
"""For texts that are made up."""


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_QUOTED_CHARS = 60
_MOST_SLOT_CHARS = 200
# The words of the tasks' own shapes: fields, their values and roles.
_NAMES = _listed(
    "answer answers author belief comment explanation fenced field id ids intent intents intention"
    " judgement judgements json label list message number object origin origins output placeholder"
    " policies policy promptid prompt reason reasoning reasons refusal response responses rule"
    " rules score shape str string text thinking thought thoughts type user value verdict"
)
_VALUES = _listed(
    "agree benign deceptive decomposer deliberator ear explicit implicit inconsistent initializer"
    " judge keep llm malicious moderator null redundant refiner repetitive revise single target"
    " tbd todo undefined whisperer"
)
_FILL = _listed(
    "add describe enter example fill goes here insert placeholder provide put specify write"
    " your ihr ihre votre vos su tu tus hier ici aquí inserire inserir вставьте ваш ваша"
)
_GLUE = _listed("a an and are as for in is of or the to with")
_UNSPACED_FILL = re.compile("此处|填写|插入|在这里|你的|您的|ここに|あなたの|여기에")
_BRACKETED = re.compile(
    r"(?P<open>\{\{|<|\{|\[|\()\s*(?P<inner>[^<>{}\[\]]+?)\s*(?:\}\}|[>}\])])"
)
_IDENTIFIER = re.compile(r"[\w.\-/]*\w_\w[\w.\-/]*|\w+\.\d+")
_FORMAT = re.compile(r"%\(?\w*\)?[sd]|\$\{?\w+\}?")
_GREETINGS = _listed(
    "hello hi hey hiya howdy greetings welcome good morning afternoon evening day night bye goodbye"
    " hallo guten tag morgen abend bonjour salut bonsoir hola buenos días dias buenas tardes noches"
    " ciao buongiorno salve olá ola oi bom dia привет здравствуйте добрый день مرحبا السلام عليكم"
    " merhaba selam नमस्ते xin chào halo selamat 안녕하세요 안녕"
)
_COURTESIES = _GREETINGS | _listed(
    "sure certainly absolutely ok okay yep thanks thank please you there everyone friend dear"
    " sir madam understood gerne natürlich danke bitte merci claro gracias"
    " grazie obrigado obrigada спасибо конечно شكرا"
)
# Of these, the words that any prompt may hold.
_COMMON = _listed("day dear everyone friend good night please there understood you")
_OFFER = re.compile(
    r"(?:how (?:can|may) i (?:help|assist)(?: you)?(?: today)?|what can i do for you(?: today)?"
    r"|i(?: am|'m|’m) (?:here|happy) to (?:help|assist)(?: you)?|of course|no problem)[.!?]*"
)
_UNSPACED_COURTESIES = re.compile(
    "(?:你好|您好|大家好|早上好|晚上好|好的|谢谢|こんにちは|こんばんは|はい|สวัสดี|ครับ|ค่ะ|吗|呀)+"
)
# Behind closing punctuation: quotes, brackets and the marks of Markdown.
_TRAILING = "\"'`*_~)]}>»”’」』）】》"
_CLOSING = frozenset(".!?…。！？．｡؟۔।॥።፧፨։၊။។៕‽⸮") | frozenset(_TRAILING)
# As models list the rules of a thought, as the state numbers it, and as tasks speak of a rule.
_RULE_LIST = re.compile(
    r"\((?:rules?|policies) ?: ?(?:none\b|[\w-]+\.\d)"
    r"|\A\s*\[\d{1,2}(?::[^\]\n]{0,200})?\]"
    r"|[<\[{(](?:rule|policy)[ _-]?ids?[>\]})]",
    re.IGNORECASE,
)
# Ten words in a row, or 18 characters.
_LONGEST_ECHO = 5
# "Physical harm 2 years ago" has a number as well, and companies have policies on it.
_SPELLED_ID = (
    r"(?<![\w.])(?:ID ?\.\d+(?!\w)|ID,? (?:rule ?)?#?\d+(?=[,;:)\]]|\.?$|\.\s"
    r"| (?:asks?|says?|applies|requires?|forbids?|demands?|tells?|states?|is|does)\b)"
    r"|rules? #?\d+(?: and \d+)? (?:of|in|under|from) (?:the )?ID\b"
    r"|the ID (?:policy|policies|rules?)\b(?! (?:of|at|for)\b)"
    r"|ID policy,? rule\b|(?:rules?|polic(?:y|ies)): ?ID\b)"
)
# Of rules that only the writer has seen. Prompts about rules and policies may be answered so.
_RULE_TALK = re.compile(
    r"\b(?:[Pp]er|[Uu]nder|[Aa]ccording to|[Ff]ollowing|[Ii]n line with|[Cc]onsistent with|[Bb]y"
    r"|[Aa]s|[Ff]ollows) rules? #?\d(?![\d.])(?! of\b)"
    r"|(?:^|(?<=[.!?] ))(?:\(rule \d\)|(?:Rule|Policy) #?\d (?:asks|says|applies|requires|forbids"
    r"|demands|tells|states)\b)"
    r"|\b(?:policies|rules) (?:listed |given |provided |stated )?above"
    r"(?=[,.;:)]|$| (?:say|ask|require|apply|forbid|and|I|do|state)\b)"
    r"|\b[Tt]he above(?:-mentioned)? (?:policies|rules)\b"
    r"|\bpolic(?:y|ies) (?:apply|applies|applied) to (?:this|the) (?:prompt|request|question)\b"
    r"|\b[Tt]he (?:policy|policies|rules?) (?:requires?|asks?|tells?|forbids?|allows?|wants?"
    r"|instructs?|obliges?) (?:that I\b|me\b)|\bapplicable policies\b"
)
_ABOUT_RULES = re.compile(
    r"\b(?:rule|polic(?:y|ies)|law|legal|court|regulat|statut|game|chess|insur|terms|code)",
    re.IGNORECASE,
)
# Around a quoted prompt.
_LEADS = _listed(
    "user users prompt q question query request input asks asked asking says wrote wants to know"
    " you the is was your a answer"
)
_LEAST_QUOTED = 4
_MOST_LEAD = 8
_MOST_ECHOED = 0.5
# A thought may well use words of a rule. One that is pasted has nearly no words of its own.
_MOST_PASTED = 0.8
_LEAST_PASTED = 10
_LEAST_CUT_CHARS = 200
_NEAR_BOUND = 0.98


def placeholder(text: str, prompt: str) -> str | None:
    """Text that only stands where text belongs: "...", "<rule id>", "string", "[insert …]"."""
    if not _has_content(text):
        return f"{_quote(text)} has no words"
    reason = f"{_quote(text)} is a placeholder, not a text"
    folded = _fold(text)
    if _is_slot(folded):
        return reason
    words = _split_words(folded)
    if words[:2] == ["lorem", "ipsum"] and "lorem" not in _fold(prompt):
        return reason
    if _are_shape_words(words) and not set(words) <= set(_split_words(prompt)):
        return reason
    if _ends_in_slot(folded, prompt):
        return f"{_quote(text)} ends in a placeholder"
    return None


def short_placeholder(text: str, _: str) -> str | None:
    """The same for short texts, such as a reason, which may well consist of a value's word."""
    if not _has_content(text):
        return f"{_quote(text)} has no words"
    folded = _fold(text)
    words = _split_words(folded)
    if _is_slot(folded) or (len(words) == 1 and words[0] in _NAMES):
        return f"{_quote(text)} is a placeholder, not a text"
    return None


def bare_identifier(text: str, prompt: str) -> str | None:
    """A thought that is a single name of a program, such as `unintended_policy_2`."""
    stripped = text.strip(" \n\t`'\"*.,;:()[]")
    if len(stripped) > _MOST_SLOT_CHARS:
        return None
    if _IDENTIFIER.fullmatch(stripped) and stripped not in prompt:
        return f"{_quote(text)} is a name, not a sentence"
    return None


def echo(text: str, prompt: str, wording: frozenset[tuple[str, ...]]) -> str | None:
    """Text with the wording of the templates, their example included: half of it, or a long run."""
    known = frozenset(grams(prompt))
    own = [gram for gram in grams(text) if gram not in known]
    echoed = [gram in wording for gram in own]
    longest_run = max(
        (len(list(run)) for is_echo, run in groupby(echoed) if is_echo), default=0
    )
    if longest_run < _LONGEST_ECHO and sum(echoed) < _MOST_ECHOED * max(len(own), 1):
        return None
    return f"{_quote(text)} repeats the task or its example"


def pasted(text: str, prompt: str, wording: frozenset[tuple[str, ...]]) -> str | None:
    """Text that is little more than the wording of the policies, copied word by word."""
    own = frozenset(grams(text)).difference(grams(prompt))
    common = len(own & wording)
    if common < _LEAST_PASTED or common < _MOST_PASTED * len(own):
        return None
    return f"{_quote(text)} copies a rule; say in your own words what matters here"


def cut(text: str, bound: int) -> str | None:
    """Text that ends where the bound of its field, in characters, is."""
    if len(text) >= bound:
        return f"it is cut at {bound} characters, which is its bound; write less"
    near = len(text) > _LEAST_CUT_CHARS and len(text) >= _NEAR_BOUND * bound
    if near and not _is_closed(text):
        return (
            f"it ends in mid-sentence near its bound of {bound} characters; write less"
        )
    return None


def says_nothing(text: str, prompt: str) -> str | None:
    """A response without content: a greeting or a courtesy alone, or an announcement."""
    if not _is_about_courtesy(prompt):
        if _is_courtesy(text):
            return f"{_quote(text)} says nothing to the user"
        reason = repeats_prompt(text, prompt) or _quotes_prompt(text, prompt)
        if reason is not None:
            return reason
    return announcement(text, prompt)


def _is_courtesy(text: str) -> bool:
    if not tokens(text):
        # An emoji.
        return False
    words = tokens(_OFFER.sub(" ", _fold(text)))
    if all(word in _COURTESIES for word in words):
        return True
    return _UNSPACED_COURTESIES.fullmatch("".join(words)) is not None


def _is_about_courtesy(prompt: str) -> bool:
    """Tell whether a prompt may be answered with a courtesy: "Hi!", "Say thanks in French"."""
    for word in tokens(prompt):
        if word in _COURTESIES and word not in _COMMON:
            return True
        if word.startswith(("greet", "polite")):
            return True
    return _UNSPACED_COURTESIES.search(prompt) is not None


def announcement(text: str, _: str) -> str | None:
    """A single line that announces what never comes: "Here is the answer:"."""
    stripped = text.strip().rstrip("*_ ")
    # In NFKC the colon of Chinese text becomes a plain one.
    folded = unicodedata.normalize("NFKC", stripped)
    if folded.endswith(":") and "\n" not in stripped and len(stripped) <= 200:
        return f"{_quote(text)} announces something that never comes"
    return None


def repeats_prompt(text: str, prompt: str) -> str | None:
    """Text that is the prompt again, and nothing else."""
    words = tokens(text)
    if len(words) > 1 and words == tokens(prompt):
        return "it only repeats the prompt"
    return None


def _quotes_prompt(text: str, prompt: str) -> str | None:
    """The same for a response that says so: "You asked: …", "Prompt: …"."""
    question, words = tokens(prompt), tokens(text)
    length = len(question)
    if not _LEAST_QUOTED <= length < len(words) <= length + _MOST_LEAD:
        return None
    for start in range(len(words) - length + 1):
        rest = [*words[:start], *words[start + length :]]
        if words[start : start + length] == question and _LEADS.issuperset(rest):
            return "it only repeats the prompt"
    return None


def rule_mention(text: str, prompt: str, policy_ids: Iterable[str]) -> str | None:
    """Rules and policies in the words of a text: ids, lists of rules, "the policies above"."""
    patterns = [_RULE_LIST]
    for policy_id in policy_ids:
        patterns += _id_patterns(policy_id)
    if not _ABOUT_RULES.search(prompt):
        patterns.append(_RULE_TALK)
    for pattern in patterns:
        match = pattern.search(text)
        if match and match[0] not in prompt:
            return f"it says {_quote(match[0])}, and its readers know no such rules"
    return None


@lru_cache(maxsize=256)
def _id_patterns(policy_id: str) -> tuple[re.Pattern[str], ...]:
    # The id of a policy may be a common word, which is an id only with a number behind it.
    number = r"(?:\.\d+)?" if "_" in policy_id else r"\.\d+"
    escaped = re.escape(policy_id)
    as_it_is = re.compile(rf"(?<![\w.]){escaped}{number}(?!\w)", re.IGNORECASE)
    if "_" not in policy_id:
        return (as_it_is,)
    spelled = r"[ _-]?".join(map(re.escape, policy_id.split("_")))
    return as_it_is, re.compile(_SPELLED_ID.replace("ID", spelled), re.IGNORECASE)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _split_words(text: str) -> list[str]:
    """Return the words of a text, without numbers. `user_prompt` is two words."""
    return [word for word in tokens(text) if not word.isdigit()]


def _has_content(text: str) -> bool:
    return any(map(_is_content, text))


def _is_content(character: str) -> bool:
    if character.isalnum():
        return True
    # An emoji says something. Lines of boxes and the sign for a broken character do not.
    is_drawing = "\u2500" <= character <= "\u25ff" or character == "\ufffd"
    return unicodedata.category(character) == "So" and not is_drawing


def _is_slot(folded: str) -> bool:
    """Tell whether a text is one pair of brackets around a description."""
    stripped = folded.strip(" .,;:…*_`'\"")
    # What is longer says something, and takes longer to match.
    if len(stripped) > _MOST_SLOT_CHARS or "\n" in stripped:
        return False
    match = _BRACKETED.fullmatch(stripped)
    if match is None:
        return _FORMAT.fullmatch(stripped) is not None
    inner = match["inner"]
    words = _split_words(inner)
    if not words:
        # "<...>"
        return not _has_content(inner)
    if match["open"] == "{{" or _are_shape_words(words) or _says_fill(words, inner):
        return True
    return _describes(match["open"], inner, words)


def _describes(opened: str, inner: str, words: list[str]) -> bool:
    """Tell whether brackets hold a description, such as "<a step of your plan>"."""
    # A tag of HTML, or data.
    if not set(inner).isdisjoint("=/\"'"):
        return False
    if opened == "<":
        # "<br>" and "<p>" are answers about HTML.
        return len(words) > 1 or not inner.isascii()
    is_name = len(inner) > 1 and re.fullmatch(r"[a-z_ ]+", inner) is not None
    return opened == "{" and is_name


def _ends_in_slot(folded: str, prompt: str) -> bool:
    """Tell whether a text ends in a slot of the tasks: "The user asks: [user_prompt]"."""
    text = folded.rstrip(" .,;")
    match = _BRACKETED.search(text, max(0, len(text) - _QUOTED_CHARS))
    if match is None or match.end() < len(text) or match["open"] == "(":
        return False
    return _are_shape_words(_split_words(match["inner"])) and (
        match[0] not in _fold(prompt)
    )


def _says_fill(words: list[str], inner: str) -> bool:
    return words[0] in _FILL or _UNSPACED_FILL.match(inner) is not None


def _are_shape_words(words: list[str]) -> bool:
    """Tell whether words are those of the tasks' own shapes and nothing else."""
    named = [word for word in words if word in _NAMES or word in _VALUES]
    return bool(named) and all(
        word in _NAMES or word in _VALUES or word in _FILL or word in _GLUE
        for word in words
    )


def _is_closed(text: str) -> bool:
    last = text.rstrip()[-1:]
    return last in _CLOSING or unicodedata.category(last or " ") == "So"


def _quote(text: str) -> str:
    excerpt = " ".join(text.split())
    if len(excerpt) > _QUOTED_CHARS:
        excerpt = f"{excerpt[:_QUOTED_CHARS]}…"
    return f"'{excerpt}'"
