"""The `vllm` engine: starts a vLLM server when the first call needs one, and again when it dies.

A run that is answered from the journal alone starts nothing. If a server dies in the middle of a
batch, its broken connections show it. One call then starts the server again, the others wait, and
the dialogues go on. The driver counts that as one attempt of each call that was in flight.
"""

import asyncio
import shutil
from collections.abc import Callable, Mapping

from aidsafe_dagster.engines.endpoint import EndpointEngine, server_route
from aidsafe_dagster.engines.protocol import RetryableError, Route
from aidsafe_dagster.engines.roles import for_speaker
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.vllm.lease import Lease
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.engines.vllm.settings import VLLMSettings
from aidsafe_dagster.recipe.dialogue import Completion, Request
from aidsafe_dagster.recipe.errors import SetupError

_GPU_TOOLS = ("nvidia-smi", "rocm-smi")


class VLLMEngine:
    """Completes requests on the shared server of its settings.

    `endpoint` gives the time limit and what is added to requests; its URL and model are not used.
    `by_speaker` is the same with what some roles change, such as the name of a LoRA adapter.
    """

    name = "vllm"
    simulated = False

    def __init__(
        self,
        settings: VLLMSettings,
        endpoint: ServerSettings,
        by_speaker: Mapping[str, ServerSettings] | None = None,
        log: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    ) -> None:
        self.settings = settings
        self.server = VLLMServer(settings, log)
        self.restarts = 0
        self._log = log
        self._by_speaker = by_speaker or {}
        self._routes: dict[str, Route] = {}
        self._endpoint_settings = endpoint
        self._endpoint: EndpointEngine | None = None
        self._lease: Lease | None = None
        self._starting = asyncio.Lock()

    @property
    def slots(self) -> int:
        return self.settings.slots

    @property
    def gpus(self) -> int:
        """GPUs that the server is spread over; 0 where there is none, as with vLLM's CPU build."""
        has_gpu = any(shutil.which(tool) for tool in _GPU_TOOLS)
        return self.settings.gpus if has_gpu else 0

    def metrics_url(self) -> str | None:
        return f"{self._lease.root}/metrics" if self._lease else None

    def route(self, speaker: str) -> Route:
        # Asked once a call, and the same every time.
        if speaker not in self._routes:
            changed = for_speaker(self._by_speaker, speaker, self._endpoint_settings)
            settings = self.settings.served(changed)
            options = self.settings.answer_options(settings.model)
            self._routes[speaker] = server_route(self.name, settings, options)
        return self._routes[speaker]

    async def complete(self, request: Request, attempt: int) -> Completion:
        endpoint, lease = await self._connect()
        try:
            return await endpoint.complete(request, attempt)
        except RetryableError as error:
            if await self._is_alive(endpoint, lease):
                raise
            # No wait: the next attempt starts the server, and that takes long enough.
            raise RetryableError(
                f"the vLLM server died: {error}", retry_after_s=0.0
            ) from error

    async def close(self) -> None:
        if self._endpoint:
            await self._endpoint.close()
        self.server.release()

    async def _connect(self) -> tuple[EndpointEngine, Lease]:
        """Return the running server; the first call finds or starts it, the others wait."""
        # Held while the server loads, for minutes perhaps. All calls need it before they go on.
        async with self._starting:
            if self._endpoint is None or self._lease is None:
                self._lease = await self.server.acquire()
                self._log(f"vLLM serves {self.settings.model} at {self._lease.root}")
                self._endpoint = self._open_endpoint(self._lease)
            return self._endpoint, self._lease

    def _open_endpoint(self, lease: Lease) -> EndpointEngine:
        main = self.settings.served(self._endpoint_settings, lease.root)
        by_speaker = {}
        for speaker, settings in self._by_speaker.items():
            by_speaker[speaker] = self.settings.served(settings, lease.root)
        return EndpointEngine(main, by_speaker, self.name)

    async def _is_alive(self, endpoint: EndpointEngine, lease: Lease) -> bool:
        """Tell whether the server still answers. If not, the next call starts it again.

        Raises:
            SetupError: it died more often than `max_restarts`.
        """
        async with self._starting:
            # Another call has found the server dead already.
            if lease is not self._lease:
                return False
            if await endpoint.is_healthy():
                return True
            self.restarts += 1
            limit = self.settings.max_restarts
            deaths = f"death {self.restarts} in this run, {limit} are mended"
            if self.restarts > limit:
                tail = "\n".join(self.server.log_tail())
                raise SetupError(
                    f"the vLLM server died ({deaths}). Its last lines:\n{tail}"
                )
            self._log(
                f"the vLLM server at {lease.root} died ({deaths}); it is started again"
            )
            await endpoint.close()
            # It waits for a lock and for processes to end, and other calls must go on meanwhile.
            await asyncio.to_thread(self.server.discard, lease)
            self._endpoint = None
            self._lease = None
            return False
