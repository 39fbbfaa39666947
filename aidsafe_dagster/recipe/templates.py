"""Prompt templates: files under `prompts/`, versioned by the hash of their text.

    prompts/system.jinja            ground rules, policies and a filled example of every answer:
                                    first in every request of the agents, and the same for every
                                    role and row, so that a prefix cache serves it
    prompts/judge_system.jinja      the same for the judges, who see nothing of the agents' rules
    prompts/policies.jinja          the policies, as part of both
    prompts/target_system.jinja     the system message of the model under attack: no policies
    prompts/<stage>/<task>.jinja    the task of one turn, mostly named for the role that gets it
    prompts/reask.jinja             follows an answer that does not parse
    prompts/conversation.jinja      what stands for the prompt where it is a conversation

A user's text is only ever a value, never a template. `fenced` keeps it from closing the tag around
it, and no value holds a token by which chat templates mark turns (`chat_tokens.py`).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from jinja2 import (
    Environment,
    FunctionLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
)

from aidsafe_dagster.recipe.chat_tokens import without_chat_tokens
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.loops import grams
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Prompt

SAFETY_EVAL = "safety_eval"
TRANSLATIONS = "translations"
PROMPT_WORK = "prompt_work"
"""Of new prompts: what they are written and placed with."""
JAILBREAKS = ("expert_role", "fiction", "no_refusal", "prefix")
"""Wrappers around forbidden prompts; each is a template."""
SAFETY_EVAL_TEMPLATES = (
    "judge_system",
    "safety_eval/candidate_system",
    "safety_eval/question",
    "safety_eval/judge",
    *(f"safety_eval/jailbreaks/{name}" for name in JAILBREAKS),
)
_CONVERSATION = "conversation"
_SHARED = ("system", "policies", "reask", _CONVERSATION)
"""Templates that every request may use."""
_ANOTHER_VOICE = (
    "target_system",
    "policy_counterfactuals/policy_system",
    "preference_pairs/guard",
    *(name for name in SAFETY_EVAL_TEMPLATES if name.startswith("safety_eval/")),
)
"""Templates that no agent of the recipe is shown."""
_YOUNGER = (
    f"{_CONVERSATION}.",
    f"{TRANSLATIONS}/",
    f"{PROMPT_WORK}/",
    "policy_counterfactuals/",
)
"""Beginnings of files that a folder of a team's own may lack: the package's stand in."""
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_FENCES = "user_prompt|belief|thoughts|response|opinion|document|rule"
_TURN_FENCES = "turn|last_turn"
_BUNDLED = Path(__file__).parent.parent / "prompts"


def fenced(text: str) -> str:
    """Return the text with every tag that would close one of our fences made harmless."""
    # The tag stays readable, because models may have to reason about it.
    return _fenced(text, _FENCES)


def _fenced_turn(text: str) -> str:
    return _fenced(text, _TURN_FENCES)


def _fenced(text: str, tags: str) -> str:
    # Mostly there is none, and this is asked of every text of every request.
    if "</" not in text:
        return text
    return re.sub(rf"</(?=\s*({tags})\b)", "<\\/", text, flags=re.IGNORECASE)


def _harmless(value: object) -> object:
    return without_chat_tokens(value) if isinstance(value, str) else value


class Templates:
    """The prompt templates of one folder.

    `names_by_stage` lists the templates of each stage ('<folder>/<name>').
    `recipe.stages.load_templates` takes them from the table of stages.

    Raises:
        SetupError: a template is missing or is not valid Jinja.
    """

    def __init__(
        self, folder: Path, names_by_stage: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.folder = folder
        self._names_by_stage = names_by_stage
        self._jinja = Environment(
            loader=FunctionLoader(self._read),
            # A misspelt variable in a team's template must fail, and not vanish from the prompt.
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701 - prompts are plain text, not HTML
            trim_blocks=True,
            lstrip_blocks=True,
            # A version is the hash of the text that was loaded, so that text must be what is
            # rendered.
            auto_reload=False,
            # Of every value, so that no template of a team's own can forget it.
            finalize=_harmless,
        )
        self._jinja.filters["fenced"] = fenced
        self._jinja.filters["fenced_turn"] = _fenced_turn
        self._compiled: dict[str, Template] = {}
        self._sources: dict[str, str] = {}
        # All at once: a broken template must stop the run before the first call.
        for name in self._all_names():
            self._compiled[name] = self._compile(name)
            self._sources[name] = self._read(f"{name}.jinja") or ""

    def system(self, policies: Policies, language: str = "") -> str:
        """Return the agents' system message; `language` by its name, or the prompt's."""
        return self._render("system", policies=policies.policies, language=language)

    def judge_system(self, policies: Policies) -> str:
        return self._render("judge_system", policies=policies.policies)

    def target_system(self, belief: str = "", language: str = "") -> str:
        return self._render("target_system", belief=belief, language=language)

    def task(self, stage: str, name: str, **values: object) -> str:
        return self._render(f"{stage}/{name}", **values)

    def shown(self, prompt: Prompt) -> str:
        """Return the prompt as a role is shown it: of a conversation, with its earlier turns."""
        if not prompt.earlier:
            return prompt.prompt
        return self._render(_CONVERSATION, earlier=prompt.earlier, prompt=prompt.prompt)

    def reask(self, error: str) -> str:
        return self._render("reask", error=error)

    def version(self, stage: str) -> str:
        """Return the hash of every template that the stage's requests may use."""
        return self._hash(self._names_of(stage))

    def hashes(self, stage: str) -> dict[str, str]:
        """Return the hash of each template that the stage's requests may use, by its name."""
        return {name: self._hash([name]) for name in self._names_of(stage)}

    def texts(self, stage: str) -> dict[str, str]:
        """Return the text of each template that the stage's requests may use, by its hash."""
        hashes = self.hashes(stage)
        return {digest: self._sources[name] for name, digest in hashes.items()}

    @cached_property
    def wording(self) -> frozenset[tuple[str, ...]]:
        """What the agents and judges are told in the templates' own words, as `loops.grams`."""
        runs: set[tuple[str, ...]] = set()
        for name, source in self._sources.items():
            # A jailbreak speaks as a user would.
            if name not in _ANOTHER_VOICE:
                for text in _JINJA.split(source):
                    runs.update(grams(text))
        return frozenset(runs)

    @property
    def content_hash(self) -> str:
        """Hash of every template of the folder that the recipe uses."""
        return self._hash(list(self._sources))

    def _names_of(self, stage: str) -> list[str]:
        return [*_SHARED, *self._names_by_stage.get(stage, ())]

    def _hash(self, names: Sequence[str]) -> str:
        # Names count as well: the same text under another name is asked of another role.
        parts = []
        for name in names:
            source = self._sources[name]
            parts.append(f"{name}.jinja\0{source}")
        text = "\0".join(parts)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def _all_names(self) -> list[str]:
        names = list(_SHARED)
        for stage_names in self._names_by_stage.values():
            names.extend(stage_names)
        # Stages share templates: the judges grade with the same one in `cot_grades` and in pairs.
        return list(dict.fromkeys(names))

    def _read(self, file: str) -> str | None:
        """Return the source of a template; None if there is none."""
        path = self.folder / file
        # A folder of a team's own may be older than these.
        is_younger = file.startswith(_YOUNGER)
        if is_younger and not path.is_file():
            path = _BUNDLED / file
        return path.read_text("utf-8-sig") if path.is_file() else None

    def _compile(self, name: str) -> Template:
        file = f"{name}.jinja"
        try:
            template = self._jinja.get_template(file)
        except TemplateNotFound as error:
            raise SetupError(f"{self.folder}: template '{file}' is missing") from error
        except TemplateSyntaxError as error:
            raise SetupError(
                f"{self.folder / file}: line {error.lineno}: {error.message}"
            ) from error
        # Every rendering copies them, and a chain of maps is slow to copy.
        template.globals = dict(template.globals)
        return template

    def _render(self, name: str, **values: object) -> str:
        # Editors add a final line break or leave it out. Neither may change a journal key.
        return self._compiled[name].render(**values).strip()
