"""Harmful prompts in jailbreak wrappers: which prompts, in which wrappers, as rows of a source.

No model is asked, and nothing is drawn at random: the same prompts, wrappers and seed make the same
rows, and further prompts or wrappers only add to them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aidsafe_dagster.prompt_work.parents import Parent
from aidsafe_dagster.prompt_work.prompt_file import as_column
from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.hash_draw import hash_fraction
from aidsafe_dagster.recipe.records import Derivation
from aidsafe_dagster.recipe.templates import JAILBREAKS, SAFETY_EVAL, Templates
from aidsafe_dagster.recipe.wrappers import (
    BUNDLED,
    Wrapper,
    choose_wrappers,
    load_wrappers,
)
from aidsafe_dagster.sources.wording import normalised_words

_WORDS_IN_A_ROW = 8


@dataclass(frozen=True)
class Wrapping:
    """Rows for training, and how many there are of each kind of attack."""

    rows: tuple[Mapping[str, Any], ...]
    parents: int
    by_kind: Mapping[str, int]


def gather_wrappers(
    own: Path | None, chosen: Sequence[str], prompts: Path
) -> tuple[Wrapper, ...]:
    """Return the wrappers to use.

    Args:
        own: a file of further wrappers.
        chosen: names or kinds; empty: all.
        prompts: folder of the templates, with the wrappers of the safety evaluation.

    Raises:
        SetupError: a file cannot be read, two wrappers share a name, a name is unknown, or a
            wrapper is one of the safety evaluation.
    """
    wrappers = load_wrappers(BUNDLED)
    if own:
        names = {wrapper.name for wrapper in wrappers}
        for wrapper in load_wrappers(own):
            if wrapper.name in names:
                raise SetupError(
                    f"{own}: the name '{wrapper.name}' is that of a bundled wrapper"
                )
            wrappers = (*wrappers, wrapper)
    _refuse_evaluated(wrappers, prompts)
    valid = {wrapper.name for wrapper in wrappers} | {
        wrapper.kind for wrapper in wrappers
    }
    for name in chosen:
        if name not in valid:
            raise unknown("wrapper", name, sorted(valid), "prompts wrap --only")
    return tuple(
        wrapper
        for wrapper in wrappers
        if not chosen or {wrapper.name, wrapper.kind} & set(chosen)
    )


def wrap_prompts(
    parents: Sequence[Parent],
    wrappers: Sequence[Wrapper],
    *,
    per_prompt: int,
    share: float,
    seed: int,
) -> Wrapping:
    """Wrap a share of the harmful prompts, each in some wrappers.

    Args:
        parents: harmful prompts that may be trained on.
        wrappers: to choose from.
        per_prompt: wrappers of each prompt, at most.
        share: of the prompts, 0 to 1.
        seed: of the choice of prompts and wrappers.
    """
    rows: list[Mapping[str, Any]] = []
    by_kind = Counter[str]()
    wrapped = 0
    for parent in parents:
        if hash_fraction("wrapped", seed, parent.prompt.prompt_id) >= share:
            continue
        wrapped += 1
        for wrapper, text in _wrapped(parent, wrappers, seed, per_prompt):
            rows.append(_row(parent, wrapper, text))
            by_kind[wrapper.kind] += 1
    return Wrapping(tuple(rows), wrapped, dict(sorted(by_kind.items())))


def _wrapped(
    parent: Parent, wrappers: Sequence[Wrapper], seed: int, most: int
) -> Iterator[tuple[Wrapper, str]]:
    count = 0
    for wrapper in choose_wrappers(parent.prompt.prompt_id, wrappers, seed):
        text = wrapper.wrap(parent.prompt.prompt)
        # A script without Latin letters has no ROT13.
        if text is None:
            continue
        yield wrapper, text
        count += 1
        if count == most:
            return


def _row(parent: Parent, wrapper: Wrapper, text: str) -> Mapping[str, Any]:
    prompt = parent.prompt
    derivation = Derivation(
        method="wrapper",
        parent=prompt.prompt_id,
        kind="harmful",
        detail=f"{wrapper.name} ({wrapper.kind})",
        # No model wrote the wrapper. The prompt inside may be made up, or not harmful at all.
        simulated=prompt.is_made_up or parent.is_rehearsed,
    )
    return {
        "prompt": as_column(prompt, text),
        "category": prompt.category,
        "licence": prompt.licence,
        "derivation": derivation.model_dump(exclude={"parent_texts"}),
    }


def _refuse_evaluated(wrappers: Sequence[Wrapper], prompts: Path) -> None:
    """Refuse a wrapper that the safety evaluation uses: it would measure what was trained on."""
    names = tuple(f"{SAFETY_EVAL}/jailbreaks/{name}" for name in JAILBREAKS)
    templates = Templates(prompts, {SAFETY_EVAL: names})
    for name in JAILBREAKS:
        evaluated = _runs(templates.task(SAFETY_EVAL, f"jailbreaks/{name}", request=""))
        for wrapper in wrappers:
            if evaluated & _runs(wrapper.template):
                raise SetupError(
                    f"wrapper '{wrapper.name}': it shares {_WORDS_IN_A_ROW} words in a row with "
                    f"'{name}', which the safety evaluation wraps its prompts in; training on it "
                    "would make that evaluation worthless. Write it in other words"
                )


def _runs(text: str) -> set[tuple[str, ...]]:
    """Return the words of a text, that many in a row; common ones tell a wrapper as well."""
    words = normalised_words(text)
    starts = range(len(words) - _WORDS_IN_A_ROW + 1)
    return {words[start : start + _WORDS_IN_A_ROW] for start in starts}
