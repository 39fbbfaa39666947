"""The Hub as a Dagster resource: one client, made from the settings, with the token from the
environment.
"""

import os
from collections.abc import Callable

import dagster as dg
from huggingface_hub import HfApi, get_token

from aidsafe_dagster.publishing.hub import DatasetRepo
from aidsafe_dagster.publishing.settings import PublishSettings
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.resources.settings import SettingsResource


class HubResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the dataset repository that is published to."""

    settings: dg.ResourceDependency[SettingsResource]

    def dataset(self, repo: str, log: Callable[[str], None]) -> DatasetRepo:
        """Return the repository '<owner>/<name>'; nothing is asked of the Hub yet.

        Raises:
            SetupError: no repository is named, or there is no token.
        """
        if not repo:
            raise SetupError(
                "set publish.repo, the dataset repository on the Hub: '<owner>/<name>'"
            )
        publish = self.settings.snapshot.settings.publish
        settings = publish.model_copy(update={"repo": repo})
        # One client for every call: the library's shortcuts ignore the endpoint of the settings.
        client = HfApi(endpoint=settings.endpoint or None, token=hub_token(settings))
        return DatasetRepo(client, settings, log)


def hub_token(settings: PublishSettings) -> str:
    """Return the token of the variable that the settings name, else that of `hf auth login`.

    Raises:
        SetupError: there is neither.
    """
    token = ""
    if settings.token_env:
        token = os.environ.get(settings.token_env, "").strip()
    if not token:
        token = get_token() or ""
    if not token:
        alternative = ""
        if settings.token_env:
            alternative = f"set {settings.token_env}, or "
        raise SetupError(
            f"publishing needs a token of the Hub with write access: {alternative}run hf auth login"
        )
    return token
