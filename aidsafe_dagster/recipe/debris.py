"""Debris of machinery in text: tokens of chat templates, turns of others, broken encodings, JSON.

None of it is for a reader, so a little of it anywhere spoils a text. What stands in code, and
prompts that hold such signs themselves, are left alone.
"""

import re

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
# Of ChatML, Llama, Mistral, Gemma, Phi, DeepSeek and T5. `<s>` is a tag of HTML as well.
_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜]{1,40}｜>|</s>(?=\s*(?:\Z|<s>|\[INST\]))|^\s*</?s>\s*$"
    r"|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|<(?:pad|unk|bos|eos|mask)>"
    r"|</?think(?:ing)?>"
)
# The model goes on with what others say.
_TURN = re.compile(
    r"^\s*(?:### ?(?:Instruction|Response|Human|Assistant):"
    r"|(?:Human|User|<user>): .*\n(?:.*\n){0,3}\s*(?:Assistant|AI|<assistant>):)",
    re.MULTILINE,
)
# UTF-8 that was read as Windows-1252 or Latin-1: a lead byte, and a byte that follows it.
_FOLLOWING = "[\u0080-\u00bf‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ€]"
_MOJIBAKE = re.compile(
    rf"â€{_FOLLOWING}?|Ã[\u0080-\u00bfŸ¤¶¼„–œ©¨ª§±³­´]|(?:[ÂÃÐÑØÙà-ï]{_FOLLOWING}{{1,2}}){{3,}}"
)
_BROKEN = "\ufffd"
# Base64 and hexadecimal digests: no word is so long and so mixed.
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}|(?:[0-9A-Fa-f]{2}[ :]?){24,}")
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4}|\\[nrt0]|&#?\w{2,8};|\s)+")
_SHAPE = re.compile(
    r'"(?:thoughts|judgements|origins)"\s*:\s*\[|^\s*\{\s*"(?:thought|response|rules|verdict'
    r'|belief|comment|intents)"\s*:'
)
_ASKS_FOR_TURNS = re.compile(
    r"dialog|conversation|script|chat|interview|transcript|role-?play", re.IGNORECASE
)
_ASKS_FOR_CODE = re.compile(
    r"base ?64|encod|decod|hash|sha|md5|hex|key|token|uuid|password|passphrase|random|string|id\b"
    r"|address|\d{4}",
    re.IGNORECASE,
)
_QUOTED_CHARS = 40


def debris(text: str, prompt: str) -> str | None:
    """Describe what machinery left in a text; None if there is nothing."""
    prose = _CODE.sub(" ", text)
    for pattern, name in (
        (_TOKEN, "a token of a chat template"),
        (_TURN, "turns of a conversation"),
        (_MOJIBAKE, "characters of a broken encoding"),
        (_SHAPE, "the JSON of an answer"),
    ):
        match = pattern.search(prose)
        if match and not pattern.search(prompt) and not _excuses(prompt, pattern):
            excerpt = " ".join(match[0].split())[:_QUOTED_CHARS]
            return f"it holds {name}: '{excerpt}'"
    if _BROKEN in prose and _BROKEN not in prompt:
        return "it holds broken characters"
    return _is_noise(text.strip(), prompt)


def _excuses(prompt: str, pattern: re.Pattern[str]) -> bool:
    return pattern is _TURN and _ASKS_FOR_TURNS.search(prompt) is not None


def _is_noise(text: str, prompt: str) -> str | None:
    if text in prompt:
        return None
    if _ESCAPES.fullmatch(text):
        return f"'{text[:_QUOTED_CHARS]}' is no text"
    is_mixed = any(map(str.isdigit, text)) and any(map(str.isalpha, text))
    # "Encode this" and "Give me a hash" may be answered so.
    if is_mixed and _ENCODED.fullmatch(text) and not _ASKS_FOR_CODE.search(prompt):
        return f"'{text[:_QUOTED_CHARS]}' is encoded, and no text"
    return None
