"""Count tokens, exactly or as an estimate.

A gate on token length is only as good as its counter, so every count is shown with the counter's
name. The exact counter is the tokenizer of the model to be trained. Without it, the estimate is a
quarter of a token per byte of Latin text, and so much per character of other scripts as Mistral's
Tekken (240911) takes, with a fifth more, which it is above for English. Older tokenizers, made for
English alone, take up to three times as many for other scripts.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

from aidsafe_dagster.recipe.errors import SetupError

_BYTES_PER_TOKEN = 4
_PER_CHARACTER = (
    ("\u0370", "\u03ff", 0.5),  # Greek
    ("\u0400", "\u052f", 0.35),  # Cyrillic
    ("\u0590", "\u05ff", 0.5),  # Hebrew
    ("\u0600", "\u06ff", 0.4),  # Arabic
    ("\u0900", "\u0dff", 0.4),  # Devanagari and its sisters
    ("\u0e00", "\u0eff", 0.6),  # Thai, Lao
    ("\u3040", "\u30ff", 0.8),  # kana
    ("\u3400", "\u9fff", 1.0),  # Chinese characters
    ("\uac00", "\ud7a3", 0.65),  # Hangul
)
"""First and last character of a script, and the tokens that a character of it takes."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of a text without special tokens."""

    name: str
    exact: bool
    """False for an estimate."""
    count: Callable[[str], int]

    def __call__(self, text: str) -> int:
        return self.count(text)


def estimate_tokens(text: str) -> int:
    """Return the estimate, rounded up, so that only an empty text has no tokens."""
    if text.isascii():
        # Floor division of the negative rounds up, without going through floating point.
        return -(-len(text) // _BYTES_PER_TOKEN)
    counts = Counter(text)
    total = sum(_tokens_of(character) * n for character, n in counts.items())
    return ceil(round(total, 6))


@lru_cache(maxsize=8192)
def _tokens_of(character: str) -> float:
    for first, last, tokens in _PER_CHARACTER:
        if first <= character <= last:
            return tokens
    # A lone surrogate, as JSON from a model may hold, must not fail the count.
    return len(character.encode("utf-8", "surrogatepass")) / _BYTES_PER_TOKEN


ESTIMATE = TokenCounter(
    f"estimate (UTF-8 bytes / {_BYTES_PER_TOKEN}; by script where it is not Latin)",
    exact=False,
    count=estimate_tokens,
)


def load_token_counter(tokenizer: str | Path | None) -> TokenCounter:
    """Load the counter of a `tokenizer.json`, or of a folder with one; None gives the estimate.

    Raises:
        SetupError: there is no such file, it is not a tokenizer, or the package `tokenizers` is not
            installed.
    """
    if tokenizer is None:
        return ESTIMATE
    file = _tokenizer_file(Path(tokenizer))
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - needed only for exact counts
    except ImportError as error:
        raise SetupError(
            f"{file}: counting with a tokenizer needs the package 'tokenizers': pip install it"
        ) from error
    try:
        loaded = Tokenizer.from_file(str(file))
    # The package raises a bare Exception for every kind of damaged file.
    except Exception as error:
        raise SetupError(f"{file}: not a tokenizer file: {error}") from error
    # A tokenizer made for training may cut or pad to a fixed length, which would be every count.
    loaded.no_truncation()
    loaded.no_padding()
    return TokenCounter(
        f"tokenizer {file.resolve().parent.name}/{file.name}",
        exact=True,
        count=lambda text: len(loaded.encode(text, add_special_tokens=False).ids),
    )


def _tokenizer_file(path: Path) -> Path:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise SetupError(
            f"{file}: no tokenizer here; name a tokenizer.json, or the folder that holds one"
        )
    return file
