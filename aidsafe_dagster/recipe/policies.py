"""A team's safety policies: one TOML file each, with numbered rules.

    id = "fraud_and_deception"          # letters, digits, underscores
    title = "Fraud and deception"
    purpose = "Why the policy exists, in a sentence or two."
    applies = "when_relevant"           # or "always": then every chain of thought has to cover it
    categories = ["Fraud"]              # optional: source categories it applies to, whatever the agents think

    [rules]
    1 = "What a response must or must not do."
    2 = "..."

A rule is named `<policy id>.<number>` everywhere. The version of a set of policies is a hash of what they say.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.records import Record

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Policy(Record):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
    title: Text
    purpose: Text
    applies: Literal["always", "when_relevant"] = "when_relevant"
    categories: tuple[str, ...] = ()
    rules: Annotated[
        Mapping[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}$")], Text],
        Field(min_length=1),
    ]

    @property
    def rule_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.id}.{number}" for number in self.rules)

    def concerns(self, category: str) -> bool:
        """True when the source's category, or one of several joined by ';', is among those of this policy."""
        own = {c.casefold().strip() for c in self.categories}
        return any(part.casefold().strip() in own for part in category.split(";"))


class Policies(Record):
    """A set of policies, in the order of their ids."""

    policies: tuple[Policy, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(policy.id for policy in self.policies)

    @cached_property
    def rule_ids(self) -> tuple[str, ...]:
        return tuple(rule for policy in self.policies for rule in policy.rule_ids)

    @cached_property
    def version(self) -> str:
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=6).hexdigest()

    def rule(self, rule_id: str) -> str:
        """The text of a rule.

        Raises:
            SetupError: there is no such rule.
        """
        policy_id, _, number = rule_id.partition(".")
        for policy in self.policies:
            if policy.id == policy_id and number in policy.rules:
                return policy.rules[number]
        raise unknown("rule", rule_id, self.rule_ids, "policies")

    def applicable(self, category: str, named: tuple[str, ...]) -> tuple[str, ...]:
        """Ids a row has to cover: the policies that always apply, those of its category, and those its intents name."""
        return tuple(
            p.id
            for p in self.policies
            if p.applies == "always" or p.concerns(category) or p.id in named
        )


def load_policies(folder: Path, only: Sequence[str] = ()) -> Policies:
    """Reads every `*.toml` of a folder; keeps the policies whose ids are in `only`, or all.

    Raises:
        SetupError: no policy in the folder, a file does not parse, two files share an id, or `only` names none of them.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise SetupError(f"{folder}: no policy files (*.toml) here")
    by_id: dict[str, tuple[Path, Policy]] = {}
    for file in files:
        policy = _load_policy(file)
        if policy.id in by_id:
            raise SetupError(
                f"{file}: policy id '{policy.id}' is already used by {by_id[policy.id][0].name}"
            )
        by_id[policy.id] = (file, policy)
    if missing := [policy_id for policy_id in only if policy_id not in by_id]:
        raise unknown("policy", missing[0], by_id, f"{folder} (setting use_policies)")
    return Policies(policies=tuple(by_id[policy_id][1] for policy_id in sorted(set(only) or by_id)))


def _load_policy(file: Path) -> Policy:
    try:
        return Policy.model_validate(tomllib.loads(file.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{file}: not a TOML file in UTF-8: {error}") from error
    except ValidationError as error:
        first = min(
            error.errors(), key=lambda e: e["type"] != "extra_forbidden"
        )  # a misspelt key explains the rest
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown("key", place, Policy.model_fields, str(file)) from error
        raise SetupError(f"{file}: '{place}': {first['msg']}") from error
