"""Texts that stand for a text, or speak of it, where it belongs: in words, not in brackets.

"Same as above", "N/A", "TODO: …" are told by their words, in any role. A response may be one word,
so only what is no answer to anything counts there; a thought of a single word is none.
`recipe/bad_text.py` has the placeholders that show by their form.
"""

import re
import unicodedata

from aidsafe_dagster.recipe.loops import tokens

# Of the whole text, in brackets or not.
_REFERENCE = (
    r"(?:the )?same(?: (?:thought|response|answer|reasoning|text|content))?"
    r" as (?:above|before|earlier|previous(?:ly)?|the (?:previous|above|first|last)"
    r"(?: (?:one|thought|response|answer|turn))?)"
    r"|(?:please )?(?:see|refer to|cf\.?) (?:the )?(?:above|below|previous|earlier|prior)"
    r"(?: (?:thoughts?|response|answer|text))?"
    r"|as (?:discussed|stated|mentioned|noted|described|explained|above|before)"
    r"(?: (?:above|before|earlier|previously))?"
    r"|(?:the )?(?:rest|remainder|remaining|text|response|answer|thoughts?|everything|content)"
    r"(?: (?:is|are|stays?|remains?|to be|as))*(?: (?:the same|unchanged|omitted|as (?:before|above"
    r"|it is|is)))+"
    r"|(?:rest )?(?:unchanged|omitted|truncated|redacted|continued)(?: for brevity)?"
    r"|no(?: further| more)? changes?(?: (?:needed|required|necessary|made))?"
    r"|(?:no|empty|blank|final|updated|revised|new|my|full|whole|the (?:whole|full|updated|final))"
    r" (?:response|thoughts?)(?: (?:given|provided|needed|here))?"
    r"|(?:to be|tb) ?(?:determined|added|filled(?: in)?|written|completed|decided|d\.?|a\.?)"
    r"|siehe oben|wie oben|voir ci-dessus|idem|ibid(?:em)?|véase (?:arriba|más arriba)|ver acima"
    r"|come sopra|zie boven|см\. выше|同上|如上(?:所述)?|见上(?:文)?|上に同じ|위와 같음"
    r"|(?:sample|dummy|example|placeholder|some|your) (?:text|content|thoughts?|response|answer)"
    r"(?: here)?"
    r"|final answer|fill in|to be continued|coming soon|not (?:applicable|available)"
    r"|n ?[/.] ?a|x{3,}|fixme|asdf\w*|foo(?: ?bar)?(?: ?baz)?|(?:not )?specified|not provided"
)
_WHOLE = re.compile(rf"(?:{_REFERENCE})")
_BRACKETED_REMARK = re.compile(
    r"[\[(<{](?:redacted|removed|deleted|omitted\b[^\]]*|empty|blank|none|null|n/?a|unchanged"
    r"|no change\w*|continued|cont'?d|content|text|truncated|snip(?:ped)?|updated [a-z]+)[\])>}]"
)
_NOTE = re.compile(r"(?:todo|fixme|tbd|xxx)\b ?[:\-–—]")
_STRIPPED = " \n\t.…,;!*_`'\"~-–—"
_UNSPACED_LETTER = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff]")
_LEAST_UNSPACED = 4
_QUOTED_CHARS = 60


def stand_in(text: str, prompt: str) -> str | None:
    """Text that points to a text elsewhere or to come: "Same as above", "N/A", "TODO: …"."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip(_STRIPPED)
    if not folded or folded in prompt.casefold():
        return None
    bare = folded.strip("[](){}<> .…")
    is_stand_in = _WHOLE.fullmatch(bare) or _BRACKETED_REMARK.fullmatch(folded)
    if is_stand_in or _NOTE.match(folded):
        return f"'{text.strip()[:_QUOTED_CHARS]}' stands for a text, and is none"
    return None


def no_thought(text: str, _: str) -> str | None:
    """A thought of a single word, or of none."""
    words = tokens(text)
    least = 2
    if words and all(map(_UNSPACED_LETTER.match, words)):
        least = _LEAST_UNSPACED
    has_letter = any(map(str.isalpha, text))
    if has_letter and len(words) >= least:
        return None
    return f"'{text.strip()[:_QUOTED_CHARS]}' is no step of reasoning"
