"""Prompt templates: files under `prompts/`, versioned by the hash of their text.

    prompts/system.jinja                     the policies and the ground rules: first in every request, the same for
                                             every role and row, so that a server's prefix cache serves it
    prompts/target_system.jinja              what the model under attack is told: no policies
    prompts/<stage>/<task>.jinja             one turn's task, mostly named for the role that gets it
    prompts/reask.jinja                      what follows an answer that does not parse

A user's text is only ever a value, never a template; `fenced` keeps it from closing the tag it is shown in.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
)

from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.policies import Policies
from aidsafe_dagster.recipe.records import Stage

SAFETY_EVAL = "safety_eval"
JAILBREAKS = ("expert_role", "fiction", "no_refusal", "prefix")
"""Wrappers that are put around forbidden prompts; each is a template."""
TASKS: Mapping[str, tuple[str, ...]] = {
    Stage.SINGLE_LLM_COTS: ("single_llm_cots/single_llm",),
    Stage.SEED_COTS: ("seed_cots/intent_decomposer", "seed_cots/initializer"),
    Stage.DELIBERATED_COTS: (
        "deliberated_cots/deliberator",
        "deliberated_cots/round_table",
        "deliberated_cots/moderator",
    ),
    Stage.REFINED_COTS: ("refined_cots/refiner",),
    Stage.COT_GRADES: ("cot_grades/grade", "cot_grades/compare"),
    Stage.PREFERENCE_PAIRS: (
        "preference_pairs/ear_whisperer",
        "preference_pairs/target",
        "preference_pairs/guard",
        "cot_grades/grade",
        "target_system",
    ),
    SAFETY_EVAL: (
        "safety_eval/candidate_system",
        "safety_eval/question",
        "safety_eval/judge",
        *(f"safety_eval/jailbreaks/{name}" for name in JAILBREAKS),
    ),
}
"""The templates that the requests of a stage, or of the safety evaluation, are made of, beside those that all share."""
_SHARED = ("system", "reask")
_FENCES = "user_prompt|belief|thoughts|response|opinion"


def fenced(text: str) -> str:
    """The text with any tag that would close our own fence made harmless."""
    return re.sub(rf"</(?=\s*({_FENCES})\b)", "<\\/", text, flags=re.IGNORECASE)


class Templates:
    """The prompt templates of one folder.

    Raises:
        SetupError: a template is missing or is not valid Jinja.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jinja = Environment(
            loader=FileSystemLoader(folder, encoding="utf-8"),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701 - prompts are plain text, not HTML
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,  # what is rendered is what the version is the hash of
        )
        self._jinja.filters["fenced"] = fenced
        self._templates = {name: self._compiled(name) for name in self._names()}
        self._source = {name: (folder / name).read_text("utf-8") for name in self._templates}

    def system(self, policies: Policies) -> str:
        return self._render("system.jinja", policies=policies.policies)

    def target_system(self) -> str:
        return self._render("target_system.jinja")

    def task(self, stage: str, name: str, **values: object) -> str:
        return self._render(f"{stage}/{name}.jinja", **values)

    def reask(self, error: str) -> str:
        return self._render("reask.jinja", error=error)

    def version(self, stage: str) -> str:
        """Hash of every template that the stage's requests are made of."""
        names = [f"{name}.jinja" for name in (*_SHARED, *TASKS.get(stage, ()))]
        text = "\0".join(f"{name}\0{self._source[name]}" for name in names)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def _names(self) -> list[str]:
        tasks = dict.fromkeys(name for names in TASKS.values() for name in names)
        return [f"{name}.jinja" for name in (*_SHARED, *tasks)]

    def _compiled(self, name: str) -> Template:
        try:
            return self._jinja.get_template(name)
        except TemplateNotFound as error:
            raise SetupError(f"{self.folder}: template '{name}' is missing") from error
        except TemplateSyntaxError as error:
            raise SetupError(
                f"{self.folder / name}: line {error.lineno}: {error.message}"
            ) from error

    def _render(self, name: str, **values: object) -> str:
        return self._templates[name].render(**values).strip()
