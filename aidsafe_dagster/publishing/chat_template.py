"""Load a model's chat template and render it as transformers 5 does.

A template is foreign code. It runs in Jinja's immutable sandbox, on plain values, and sees nothing
else.
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

from aidsafe_dagster.publishing.hub_errors import CLIENT_ERRORS, diagnose
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.format_types import REASONING_FIELD

Chat = Sequence[Mapping[str, Any]]
_JINJA = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_PROCESSOR = "chat_template.json"
# Private-use characters around what is rendered between generation markers.
_MARK_START, _MARK_END = "\ue000", "\ue001"
# A template can break in any way that its expressions can.
_RENDER_ERRORS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    ArithmeticError,
)


class TemplateFailed(Exception):
    """The template refused a conversation or broke on it. The message is the template's own."""


class _Generation(Extension):
    """`{% generation %}`: marks the assistant's text, for a loss on that text alone."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own interface

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_mark")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        return f"{_MARK_START}{caller()}{_MARK_END}"


@dataclass(frozen=True)
class Rendered:
    text: str
    marked: str
    """The text between generation markers."""


@dataclass(frozen=True)
class ChatTemplate:
    place: str
    source: str
    tokens: Mapping[str, str]
    """Special tokens that templates use: bos_token, eos_token …"""

    @cached_property
    def _compiled(self) -> jinja2.Template:
        # transformers sets both white space options. Without them the text would differ.
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        # The extras that transformers offers to templates.
        environment.filters["tojson"] = _tojson
        environment.globals |= {
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise SetupError(
                f"{self.place}: line {error.lineno}: {error.message}"
            ) from error

    @property
    def has_generation_markers(self) -> bool:
        """True if `assistant_only_loss` works, a loss on the assistant's text alone."""
        return re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", self.source) is not None

    def render(self, chat: Chat, *, opens_turn: bool = False) -> Rendered:
        """Render a conversation as the model sees it.

        Args:
            chat: messages.
            opens_turn: end with the opening of the assistant's turn.

        Raises:
            TemplateFailed: the template refuses the conversation or breaks on it.
            SetupError: the template is invalid.
        """
        messages = [_with_thinking_alias(message) for message in chat]
        # transformers passes `tools` and `documents` even if there are none. A template that asks
        # whether they are none would take an undefined variable for tools.
        variables = {
            "tools": None,
            "documents": None,
            "add_generation_prompt": opens_turn,
            **self.tokens,
        }
        try:
            output = self._compiled.render(messages=messages, **variables)
        except _RENDER_ERRORS as error:
            raise TemplateFailed(f"{type(error).__name__}: {error}") from error
        # What comes before the first marker is in no generation block.
        _, *parts = output.split(_MARK_START)
        marked = [part.partition(_MARK_END)[0] for part in parts]
        text = output.replace(_MARK_START, "").replace(_MARK_END, "")
        return Rendered(text, "\n".join(marked))


def load_chat_template(place: str, api: HfApi) -> ChatTemplate:
    """Load the chat template of a tokenizer's folder, of a file, or of a model on the Hub.

    Raises:
        SetupError: there is none.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return _from_files(place, {file.name: file for file in path.iterdir()})
    if path.is_file():
        if path.suffix == ".json":
            return _from_files(place, {_CONFIG: path})
        return ChatTemplate(
            place, _read_text(path), _special_tokens(path.with_name(_CONFIG))
        )
    # A mistyped path should not become a request to the Hub.
    if place.count("/") == 1 and not place.startswith((".", "/", "~")):
        return _from_files(place, _download(place, api))
    raise SetupError(
        f"{place}: not a folder, a file or a model on the Hub ('<owner>/<name>')"
    )


def _from_files(place: str, files: Mapping[str, Path]) -> ChatTemplate:
    tokens = _special_tokens(files[_CONFIG]) if _CONFIG in files else {}
    # transformers prefers the separate file to the entry in the configuration, too.
    if _JINJA in files:
        return ChatTemplate(place, _read_text(files[_JINJA]), tokens)
    for name in (_CONFIG, _PROCESSOR):
        if name not in files:
            continue
        values = _read_json(files[name])
        source = _default_template(values.get("chat_template"))
        if source:
            return ChatTemplate(place, source, tokens)
    raise SetupError(
        f"{place}: no chat template: neither {_JINJA} nor 'chat_template' in {_CONFIG}"
    )


def _download(model: str, api: HfApi) -> dict[str, Path]:
    files = {}
    for name in (_JINJA, _CONFIG, _PROCESSOR):
        why = ""
        try:
            files[name] = Path(api.hf_hub_download(model, name))
        # Hardly any model has all three files.
        except EntryNotFoundError:
            continue
        except CLIENT_ERRORS as error:
            why = diagnose(error, str(api.token or "")).why
        # Raised outside of the handler: the client's error may hold the token.
        if why:
            raise SetupError(f"{model}: {why}")
    return files


def _default_template(templates: object) -> str | None:
    """Return the template, or the one named `default` if there are several."""
    if isinstance(templates, list):
        templates = {template["name"]: template["template"] for template in templates}
    if isinstance(templates, dict):
        templates = templates.get("default")
    return templates if isinstance(templates, str) else None


def _special_tokens(config: Path) -> dict[str, str]:
    values = _read_json(config) if config.is_file() else {}
    tokens = {}
    for name, value in values.items():
        if not name.endswith("_token"):
            continue
        # A token is a text, or an object that adds how to split it off.
        token = value["content"] if isinstance(value, dict) else value
        # Tokens that a model does not use are null.
        if isinstance(token, str):
            tokens[name] = token
    return tokens


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file}: cannot be read as text: {error}") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(file))
    except ValueError as error:
        raise SetupError(f"{file}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise SetupError(
            f"{file}: not a tokenizer configuration: expected a JSON object"
        )
    return values


def _with_thinking_alias(message: Mapping[str, Any]) -> dict[str, Any]:
    """Offer the reasoning under both names that templates read."""
    # Templates ask whether a key is there, and would render its null as "None".
    values = {name: value for name, value in message.items() if value is not None}
    if REASONING_FIELD in values:
        values["thinking"] = values[REASONING_FIELD]
    return values


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any
) -> str:
    """Unlike Jinja's own filter, escape nothing for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now(UTC).astimezone().strftime(form)
