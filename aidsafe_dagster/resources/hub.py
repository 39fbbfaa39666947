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
        """The repository '<owner>/<name>', reached as the settings say; nothing is asked of the Hub
        yet.

        Raises:
            SetupError: no repository is named, or there is no token.
        """
        settings = self.settings.snapshot.settings.publish.model_copy(update={"repo": repo})
        if not repo:
            raise SetupError(
                "set publish.repo, the dataset repository on the Hub: '<owner>/<name>'"
            )
        return DatasetRepo(
            HfApi(endpoint=settings.endpoint or None, token=hub_token(settings)), settings, log
        )


def hub_token(settings: PublishSettings) -> str:
    """The token of the variable that the settings name, else the one that `hf auth login` stored.

    Raises:
        SetupError: there is neither.
    """
    named = os.environ.get(settings.token_env, "").strip() if settings.token_env else ""
    token = named or get_token()
    if not token:
        where = f"set {settings.token_env}, or " if settings.token_env else ""
        raise SetupError(
            f"publishing needs a token of the Hub with write access: {where}run hf auth login"
        )
    return token
