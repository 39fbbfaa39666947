"""Asking a vLLM server that somebody else runs to load a LoRA adapter while it serves.

vLLM takes it with `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True` and `--enable-lora`. It reads the folder
itself, so the server has to see the path.
"""

from pathlib import Path

from aidsafe_dagster.engines.server_client import ServerClient, ServerUnusable
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError

_TIMEOUT_S = 300.0


async def load_adapter(server: ServerSettings, folder: Path) -> str:
    """Have a server load an adapter under the model's name of its settings.

    Returns:
        What went wrong, in the server's words; empty if it is loaded.
    """
    try:
        async with ServerClient(server, _TIMEOUT_S) as client:
            reply = await client.post(
                f"{client.base_url}/load_lora_adapter",
                {"lora_name": server.model, "lora_path": str(folder)},
            )
    except (SetupError, ServerUnusable) as error:
        return str(error)
    return "" if reply.status == 200 else f"{reply.url}: {reply}"
