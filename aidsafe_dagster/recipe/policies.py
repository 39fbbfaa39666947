"""A team's safety policies: TOML files, one per policy, with numbered rules.

    id = "fraud_and_deception"          # letters, digits, underscores
    title = "Fraud and deception"
    purpose = "Why the policy exists, in a sentence or two."
    applies = "when_relevant"           # or "always": every chain of thought has to cover it
    categories = ["Fraud"]              # optional: source categories that it always applies to

    [rules]
    1 = "What a response must or must not do."
    2 = "..."

The id of a rule is `<policy id>.<number>`. The version of a set of policies is a hash of its text.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from aidsafe_dagster.recipe.errors import SetupError, unknown
from aidsafe_dagster.recipe.loops import grams
from aidsafe_dagster.recipe.records import Record
from aidsafe_dagster.recipe.toml_text import parse_toml, quote_key

MAX_BYTES = 8 * 2**20
"""Of all policy files of a folder: about two million tokens, and every call carries them."""
_MIB = 2**20
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

    @property
    def text(self) -> str:
        """What agents are told of it, without the ids."""
        return "\n".join((self.title, self.purpose, *self.rules.values()))

    def concerns(self, category: str) -> bool:
        """Return True if `categories` lists a category, or one of several joined by ';'."""
        own = {_normalised(name) for name in self.categories}
        names = category.split(";")
        return any(_normalised(name) in own for name in names)


class Policies(Record):
    """A set of policies, in the order of their ids."""

    policies: tuple[Policy, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(policy.id for policy in self.policies)

    @cached_property
    def rule_ids(self) -> tuple[str, ...]:
        rule_ids: list[str] = []
        for policy in self.policies:
            rule_ids.extend(policy.rule_ids)
        return tuple(rule_ids)

    @cached_property
    def version(self) -> str:
        # Only the text counts. A renamed file or another layout of the TOML makes no row stale.
        return hashlib.blake2b(
            self.model_dump_json().encode(), digest_size=6
        ).hexdigest()

    @cached_property
    def wording(self) -> frozenset[tuple[str, ...]]:
        """Purposes and rules as `loops.grams`: what the trained model never sees."""
        runs: set[tuple[str, ...]] = set()
        for policy in self.policies:
            for text in (policy.purpose, *policy.rules.values()):
                runs.update(grams(text))
        return frozenset(runs)

    def rule(self, rule_id: str) -> str:
        """Return the text of a rule.

        Raises:
            SetupError: there is no such rule.
        """
        policy_id, _, number = rule_id.partition(".")
        for policy in self.policies:
            if policy.id == policy_id and number in policy.rules:
                return policy.rules[number]
        raise unknown("rule", rule_id, self.rule_ids, "policies")

    def applicable(self, category: str, cited: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ids of the policies that a row has to cover.

        These are the policies that always apply, those of the prompt's category, and those that its
        intents cite.
        """
        applicable = []
        for policy in self.policies:
            is_cited = policy.id in cited
            if is_cited or policy.applies == "always" or policy.concerns(category):
                applicable.append(policy.id)
        return tuple(applicable)

    def uncovered(
        self, applicable: Sequence[str], cited: Iterable[str]
    ) -> tuple[str, ...]:
        """Return the ids of the applicable policies of which no rule is among those cited."""
        covered = set()
        # A rule that no policy has covers nothing, whatever policy it claims to be of.
        for rule in set(self.rule_ids).intersection(cited):
            policy_id, _, _ = rule.partition(".")
            covered.add(policy_id)
        return tuple(policy for policy in applicable if policy not in covered)


def load_policies(folder: Path, only: Sequence[str] = ()) -> Policies:
    """Load the policies of a folder, all of them or those with an id in `only`.

    Raises:
        SetupError: the folder has no policy, a file does not parse, two files share an id, or an id
            in `only` does not exist. Or the files are larger than MAX_BYTES together.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise SetupError(f"{folder}: no policy files (*.toml) here")
    _require_size(folder, files)
    policies: dict[str, Policy] = {}
    file_of: dict[str, Path] = {}
    for file in files:
        policy = load_policy(file)
        # An id stands in the file and is not its name, so two files may claim the same one.
        if policy.id in policies:
            other = file_of[policy.id].name
            raise SetupError(
                f"{file}: policy id '{policy.id}' is already used by {other}"
            )
        policies[policy.id] = policy
        file_of[policy.id] = file
    for policy_id in only:
        if policy_id not in policies:
            raise unknown(
                "policy", policy_id, policies, f"{folder} (setting use_policies)"
            )
    # Sorted by id, so that neither file names nor the order of `only` change a single request.
    selected = sorted(set(only) or policies)
    return Policies(policies=tuple(policies[policy_id] for policy_id in selected))


def load_policy_set(path: Path, only: Sequence[str] = ()) -> Policies:
    """Load a set of policies: those of a folder, or the one of a file.

    Raises:
        SetupError: there is nothing of that name, or see `load_policies`.
    """
    if path.is_file():
        return Policies(policies=(load_policy(path),))
    if not path.is_dir():
        raise SetupError(f"{path}: no folder with policies, and no policy file")
    return load_policies(path, only)


def _require_size(folder: Path, files: Sequence[Path]) -> None:
    """Refuse files that no model could be shown, before any of them is read."""
    sizes = {file.name: file.stat().st_size for file in files}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        name, largest = max(sizes.items(), key=lambda item: item[1])
        raise SetupError(
            f"{folder}: {total / _MIB:,.1f} MiB of policies, {largest / _MIB:,.1f} MiB of them in "
            f"{name}. Every call carries all policies, so they may have {MAX_BYTES / _MIB:.0f} MiB "
            "together; shorten them, or move some away"
        )


def load_policy(file: Path) -> Policy:
    """Load one policy.

    Raises:
        SetupError: the file does not parse, or is no policy; names the place.
    """
    # Editors on Windows put a byte order mark first, which TOML does not know.
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SetupError(f"{file}: not a TOML file in UTF-8: {error}") from error
    try:
        return Policy.model_validate(parse_toml(text, str(file)))
    except ValidationError as error:
        raise _describe_mistake(file, text, error) from error


def _describe_mistake(file: Path, text: str, error: ValidationError) -> SetupError:
    mistakes = error.errors()
    # A misspelt key also shows up as a missing one, so unknown keys are reported first.
    mistakes.sort(key=lambda mistake: mistake["type"] != "extra_forbidden")
    first = mistakes[0]
    path = ".".join(map(str, first["loc"]))
    line = quote_key(text, first["loc"])
    if first["type"] == "extra_forbidden":
        error_of_key = unknown("key", path, Policy.model_fields, str(file))
        return SetupError(f"{error_of_key}{line}")
    # Pydantic says whose exception it was.
    message = first["msg"].removeprefix("Value error, ")
    return SetupError(f"{file}: '{path}': {message}{line}")


def _normalised(category: str) -> str:
    return category.casefold().strip()
