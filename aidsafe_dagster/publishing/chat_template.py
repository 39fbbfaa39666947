"""A model's chat template: read from wherever it lies, and rendered as transformers 5 renders it.

A template is code of somebody else's: it runs in Jinja's immutable sandbox, on plain values, and sees nothing else.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from aidsafe_dagster.publishing.hub_errors import FAULTS, diagnosed
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.formats import REASONING_FIELD

Chat = Sequence[Mapping[str, Any]]
_JINJA, _CONFIG, _PROCESSOR = "chat_template.jinja", "tokenizer_config.json", "chat_template.json"
_STARTS, _ENDS = "\ue000", "\ue001"
"""Private-use signs around what is rendered between generation markers."""


class TemplateFailed(Exception):
    """The template refused a conversation, or broke on it; the message is the template's own."""


class _Generation(Extension):
    """`{% generation %}`: marks what the assistant says, for a loss on that alone."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own interface

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Any) -> str:
        return f"{_STARTS}{caller()}{_ENDS}"


@dataclass(frozen=True)
class Rendered:
    text: str
    trained: str
    """What is between generation markers."""


@dataclass(frozen=True)
class ChatTemplate:
    place: str
    source: str
    tokens: Mapping[str, str]
    """Special tokens that templates name: bos_token, eos_token …"""

    @cached_property
    def _compiled(self) -> jinja2.Template:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise SetupError(f"{self.place}: line {error.lineno}: {error.message}") from error

    @property
    def has_generation_markers(self) -> bool:
        """True when a loss on the assistant's words alone is possible (`assistant_only_loss`)."""
        return re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", self.source) is not None

    def render(self, chat: Chat, *, opens_turn: bool = False) -> Rendered:
        """The conversation as the model sees it.

        Args:
            chat: messages.
            opens_turn: end with the opening of the assistant's turn.

        Raises:
            TemplateFailed: the template refuses it, or breaks on it.
            SetupError: it is no valid template.
        """
        values = {
            "tools": None,
            "documents": None,
            "add_generation_prompt": opens_turn,
            **self.tokens,
        }
        try:
            marked = self._compiled.render(
                messages=[_aliased(message) for message in chat], **values
            )
        except (
            jinja2.TemplateError,
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise TemplateFailed(f"{type(error).__name__}: {error}") from error
        inside = [part.partition(_ENDS)[0] for part in marked.split(_STARTS)[1:]]
        return Rendered(marked.replace(_STARTS, "").replace(_ENDS, ""), "\n".join(inside))


def load_chat_template(place: str, api: HfApi) -> ChatTemplate:
    """The chat template of a tokenizer's folder, of a file, or of a model on the Hub.

    Raises:
        SetupError: there is none.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return _from_files(place, {file.name: file for file in path.iterdir()})
    if path.is_file():
        if path.suffix == ".json":
            return _from_files(place, {_CONFIG: path})
        return ChatTemplate(place, _text(path), _tokens(path.with_name(_CONFIG)))
    if place.count("/") == 1 and not place.startswith((".", "/", "~")):
        return _from_files(place, _downloaded(place, api))
    raise SetupError(
        f"{place}: neither a folder, nor a file, nor a model on the Hub ('<owner>/<name>')"
    )


def _from_files(place: str, files: Mapping[str, Path]) -> ChatTemplate:
    tokens = _tokens(files[_CONFIG]) if _CONFIG in files else {}
    if _JINJA in files:
        return ChatTemplate(place, _text(files[_JINJA]), tokens)
    for name in (_CONFIG, _PROCESSOR):
        if name in files and (source := _default(_json(files[name]).get("chat_template"))):
            return ChatTemplate(place, source, tokens)
    raise SetupError(
        f"{place}: no chat template: neither {_JINJA} nor 'chat_template' in {_CONFIG}"
    )


def _downloaded(model: str, api: HfApi) -> dict[str, Path]:
    found = {}
    for name in (_JINJA, _CONFIG, _PROCESSOR):
        why = ""
        try:
            found[name] = Path(api.hf_hub_download(model, name))
        except EntryNotFoundError:
            continue
        except FAULTS as error:
            why = diagnosed(error, str(api.token or "")).why
        if why:  # outside of the handler: the client's error may hold the token
            raise SetupError(f"{model}: {why}")
    return found


def _default(template: object) -> str | None:
    """The template, or the one named `default` of several."""
    if isinstance(template, list):
        template = {one["name"]: one["template"] for one in template}
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else None


def _tokens(config: Path) -> dict[str, str]:
    values = _json(config) if config.is_file() else {}
    named = {name: value for name, value in values.items() if name.endswith("_token")}
    plain = {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in named.items()
    }
    return {name: value for name, value in plain.items() if isinstance(value, str)}


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file}: cannot be read as text: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(_text(file))
    except ValueError as error:
        raise SetupError(f"{file}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise SetupError(f"{file}: not a tokenizer's configuration: a JSON object is expected")
    return values


def _aliased(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its reasoning under the two names that templates read."""
    said = {name: value for name, value in message.items() if value is not None}
    return said | {"thinking": said[REASONING_FIELD]} if REASONING_FIELD in said else said


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    """Unlike Jinja's own filter it escapes nothing for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)
