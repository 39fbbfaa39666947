"""Jailbreak wrappers for training: what stands around a harmful prompt so that it is answered.

A model that refuses a request may answer it in base64 or in a story. Wrapped prompts show it the
request in such clothes. They are training data alone: the wrappers of the safety evaluation
(`prompts/safety_eval/jailbreaks/`) are others, so that what is learned here is measured there.

A wrapper is text with places for the request, never a template that is run.
"""

import base64
import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.hash_draw import hash_rank
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.recipe.toml_text import parse_toml, quote_key

Encoding = Literal["none", "base64", "hex", "rot13", "reversed", "halves"]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]
BUNDLED = Path(__file__).parent.parent / "prompts" / "wrappers.toml"
_PLACE = re.compile(r"\{(request|first|second)\}")
_ANY_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")
_PLAIN = {
    "string_pattern_mismatch": "a name has small letters, digits and '_', 40 at most",
    "string_too_short": "there is nothing in it",
    "string_type": "a text in quotation marks is due",
    "missing": "it is missing",
    "model_type": "each wrapper is a table [[wrappers]]",
}
"""What pydantic says in the words of its own trade."""


class Wrapper(Record):
    """One wrapper of a file of wrappers."""

    name: Word
    kind: Word
    """Of attack, such as `role_play`."""
    about: str = Field(min_length=1)
    encoding: Encoding = "none"
    """How the request is written."""
    template: str = Field(min_length=1)
    """The words around it, with `{request}`; for halves, `{first}` and `{second}`."""

    @model_validator(mode="after")
    def _has_its_places(self) -> "Wrapper":
        places = {"first", "second"} if self.encoding == "halves" else {"request"}
        found = set(_ANY_PLACE.findall(self.template))
        due = " and ".join(f"{{{place}}}" for place in sorted(places))
        # Any other one would be trained on as it stands.
        if found != places:
            others = ", ".join(f"{{{place}}}" for place in sorted(found - places))
            not_that = f" ({others})" if others else ""
            raise ValueError(f"the template needs {due}, and no other place{not_that}")
        if self.encoding == "none" and not _ANY_PLACE.sub("", self.template).strip():
            raise ValueError(
                f"the template has nothing around {due}: it leaves a request as it is"
            )
        return self

    def wrap(self, request: str) -> str | None:
        """Return the request in the wrapper; None if its encoding leaves it as it is."""
        parts = _ENCODERS[self.encoding](request)
        if self.encoding != "none" and request in parts.values():
            return None
        # In one pass: a place that the request itself names stays a word of the request.
        return _PLACE.sub(lambda match: parts[match[1]], self.template.strip())


class WrapperFile(Record):
    wrappers: tuple[Wrapper, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_different_names(self) -> "WrapperFile":
        names: set[str] = set()
        for wrapper in self.wrappers:
            if wrapper.name in names:
                raise ValueError(f"two wrappers have the name '{wrapper.name}'")
            names.add(wrapper.name)
        return self


def load_wrappers(path: Path) -> tuple[Wrapper, ...]:
    """Return the wrappers of a file.

    Raises:
        SetupError: it cannot be read, or a wrapper is none; names the wrapper and its line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SetupError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{path}: not a TOML file in UTF-8: {error}") from error
    values = parse_toml(text, str(path))
    try:
        return WrapperFile.model_validate(values).wrappers
    except ValidationError as error:
        raise _describe_mistake(path, text, values, error) from error


def _describe_mistake(
    path: Path, text: str, values: Mapping[str, Any], error: ValidationError
) -> SetupError:
    mistakes = error.errors()
    # A misspelt key also shows up as a missing one, so unknown keys are reported first.
    mistakes.sort(key=lambda mistake: mistake["type"] != "extra_forbidden")
    first = mistakes[0]
    place = first["loc"]
    where = str(path)
    position = place[1] if len(place) > 1 else None
    is_in_wrapper = isinstance(position, int)
    if isinstance(position, int):
        where += f", {_called(values['wrappers'][position], position)}"
    key = ".".join(map(str, place[2:] if is_in_wrapper else place))
    line = quote_key(text, place)
    if first["type"] == "extra_forbidden":
        valid = Wrapper if is_in_wrapper else WrapperFile
        return SetupError(f"{unknown('key', key, valid.model_fields, where)}{line}")
    # Pydantic says whose exception it was.
    own_words = first["msg"].removeprefix("Value error, ")
    message = _PLAIN.get(first["type"], own_words)
    if first["type"] == "literal_error":
        message = f"{first['ctx']['expected']} is due"
    if place == ("wrappers",):
        message = "each wrapper is a table [[wrappers]], and there is none"
    return SetupError(": ".join(filter(None, (where, key, message))) + line)


def _called(wrapper: Any, position: int) -> str:
    """Return what a wrapper is called in an error."""
    name = wrapper.get("name") if isinstance(wrapper, dict) else None
    return f"wrapper '{name}'" if name else f"wrapper {position + 1}"


def choose_wrappers(
    prompt_id: str, wrappers: Sequence[Wrapper], seed: int
) -> list[Wrapper]:
    """Return all wrappers in the order in which a prompt gets them.

    The order follows from the prompt and the seed, so more wrappers per prompt add to fewer. Kinds
    take turns: one that has many wrappers comes no earlier than the others.
    """
    by_kind: dict[str, list[Wrapper]] = {}
    for wrapper in wrappers:
        by_kind.setdefault(wrapper.kind, []).append(wrapper)

    def rank(name: str) -> int:
        return hash_rank("wrapper", seed, prompt_id, name)

    for of_kind in by_kind.values():
        of_kind.sort(key=lambda wrapper: rank(wrapper.name))
    kinds = sorted(by_kind, key=lambda kind: rank(f"kind {kind}"))
    order: list[Wrapper] = []
    while len(order) < len(wrappers):
        for kind in kinds:
            if by_kind[kind]:
                order.append(by_kind[kind].pop(0))
    return order


def _as_is(request: str) -> dict[str, str]:
    return {"request": request}


def _base64(request: str) -> dict[str, str]:
    return {"request": base64.b64encode(request.encode()).decode()}


def _hex(request: str) -> dict[str, str]:
    return {"request": request.encode().hex(" ")}


def _rot13(request: str) -> dict[str, str]:
    return {"request": codecs.encode(request, "rot13")}


def _reversed(request: str) -> dict[str, str]:
    return {"request": request[::-1]}


def _halves(request: str) -> dict[str, str]:
    """Cut the request in its middle, within a word if need be."""
    middle = len(request) // 2
    return {"first": request[:middle], "second": request[middle:]}


_ENCODERS: Mapping[Encoding, Callable[[str], dict[str, str]]] = {
    "none": _as_is,
    "base64": _base64,
    "hex": _hex,
    "rot13": _rot13,
    "reversed": _reversed,
    "halves": _halves,
}
