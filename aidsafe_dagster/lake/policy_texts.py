"""The policies that rows were made under, by the hash that the record of a stage has of them.

    <lake>/_policies/<hash>.json

So a comparison can show what was changed in a policy, and not only that something was.
"""

from contextlib import suppress

from pydantic import ValidationError

from aidsafe_dagster.lake.lake import Lake
from aidsafe_dagster.recipe.batch_recipe import HASH, policy_hash
from aidsafe_dagster.recipe.policies import Policies, Policy

_FOLDER = "_policies"


def store_policies(lake: Lake, policies: Policies) -> None:
    """Keep the text of each policy that is not there yet."""
    for policy in policies.policies:
        name = _name(policy_hash(policy))
        if not (lake.root / name).exists():
            lake.put(name, policy.model_dump_json().encode())


def read_policy(lake: Lake, value: str) -> Policy | None:
    """Return the policy of a recipe's part; None if its text was not kept.

    Args:
        lake: where rows were made under it.
        value: of the part: a hash.
    """
    path = lake.root / _name(value)
    with suppress(ValidationError, OSError):
        return Policy.model_validate_json(path.read_bytes())
    return None


def _name(value: str) -> str:
    return f"{_FOLDER}/{value.removeprefix(HASH)}.json"
