"""The engine as a Dagster resource: what answers the agents, with the journal in front of it.

The setting `engine` chooses: `rehearsal` (no model at all), `vllm` (a server on this machine's
GPUs, see `resources.vllm`) or `endpoint` (any OpenAI-compatible server). The first step that needs
an engine opens it, and it is closed when the run ends; the model server outlives both.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import dagster as dg
from pydantic import PrivateAttr

from aidsafe_dagster.engines.driver.background_driver import BackgroundDriver
from aidsafe_dagster.engines.driver.progress import Progress
from aidsafe_dagster.engines.driver.rows import NextStage
from aidsafe_dagster.engines.endpoint import EndpointEngine
from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.rehearsal.engine import RehearsalEngine
from aidsafe_dagster.engines.rehearsal.planted import planted_path
from aidsafe_dagster.engines.roles import EngineByRole
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.vllm.engine import VLLMEngine
from aidsafe_dagster.quality.languages import identify_language
from aidsafe_dagster.recipe.deliberated_cots import DeliberationSettings
from aidsafe_dagster.recipe.dialogue import DialogueContext, DialogueTask
from aidsafe_dagster.recipe.errors import EngineUnusable, SetupError
from aidsafe_dagster.recipe.records import Failure, Role, Stage
from aidsafe_dagster.resources.context_preflight import (
    context_findings,
    known_lengths,
    require_context,
    with_known_lengths,
)
from aidsafe_dagster.resources.continuation import require_continuation
from aidsafe_dagster.resources.settings import SettingsResource
from aidsafe_dagster.resources.tokens import token_counter
from aidsafe_dagster.resources.vllm import VLLMResource
from aidsafe_dagster.runs.batch_claims import claim_of
from aidsafe_dagster.runs.dagster_internals import PARTITION_NAME_TAG
from aidsafe_dagster.settings.role_servers import (
    common_sampling,
    own_server,
    sampling_by_speaker,
)
from aidsafe_dagster.settings.schema import Settings
from aidsafe_dagster.settings.snapshot import SettingsSnapshot

T = TypeVar("T")
logger = logging.getLogger(__name__)


def make_engine(settings: Settings, log: Callable[[str], None] = logger.info) -> Engine:
    """Return the engine that the settings name, with those of the roles that have their own.

    Raises:
        SetupError: its settings are incomplete.
    """
    engines: dict[str, Engine] = {}
    for servers in _other_servers(settings).values():
        name, first, by_speaker = servers
        engine = EndpointEngine(first, by_speaker, name)
        engines |= dict.fromkeys(by_speaker, engine)
    main = _main_engine(settings, log)
    return EngineByRole(main, engines) if engines else main


def _main_engine(settings: Settings, log: Callable[[str], None]) -> Engine:
    by_speaker = {}
    for speaker, role in settings.speakers.items():
        if not role.server and not role.base_url:
            by_speaker[speaker] = role.applied_to(settings.endpoint)
    if settings.engine == "vllm":
        return VLLMEngine(settings.vllm, settings.endpoint, by_speaker, log)
    if settings.engine == "endpoint":
        return EndpointEngine(settings.endpoint, by_speaker)
    return RehearsalEngine(settings.rehearsal, planted_path(settings.home))


def _other_servers(
    settings: Settings,
) -> dict[str, tuple[str, ServerSettings, dict[str, ServerSettings]]]:
    """Return name, settings, and settings by role of each server that roles have of their own."""
    servers: dict[str, tuple[str, ServerSettings, dict[str, ServerSettings]]] = {}
    for speaker, role in settings.speakers.items():
        named = own_server(settings, role)
        if named is None:
            continue
        name, changed = named
        _, _, by_speaker = servers.setdefault(name, (name, changed, {}))
        by_speaker[speaker] = changed
    return servers


def make_dialogue_context(
    snapshot: SettingsSnapshot, engine: Engine
) -> DialogueContext:
    """Return what every dialogue is given.

    Raises:
        SetupError: policies, templates or tokenizer cannot be loaded.
    """
    settings = snapshot.settings
    counter = token_counter(settings)
    return DialogueContext(
        policies=snapshot.policies,
        templates=snapshot.templates,
        count_tokens=counter,
        tokens_counted_by=counter.name,
        sampling=common_sampling(settings),
        sampling_by_speaker=sampling_by_speaker(settings),
        servers=_server_labels(settings, engine),
        bounds=settings.answers,
        bad_text=settings.checks,
        # Simulated text is English, whatever the prompt's language.
        language_of=None if engine.simulated else identify_language,
        seed=settings.seed,
        engine=engine.name,
        simulated=engine.simulated,
    )


def _server_labels(settings: Settings, engine: Engine) -> dict[str, str]:
    """Return the server of each role, and of each agent that the settings name."""
    speakers = [*map(str, Role), *settings.roles]
    return {speaker: engine.route(speaker).label for speaker in speakers}


class EngineResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Drives dialogues against the engine of the settings; every completion is journaled."""

    settings: dg.ResourceDependency[SettingsResource]
    vllm: dg.ResourceDependency[VLLMResource]
    _driver: BackgroundDriver | None = PrivateAttr(default=None)
    _driver_settings: Settings | None = PrivateAttr(default=None)
    _is_in_run: bool = PrivateAttr(default=False)
    _batch: str | None = PrivateAttr(default=None)
    _unusable: EngineUnusable | None = PrivateAttr(default=None)
    _checked: list[tuple[Settings, frozenset[str]]] = PrivateAttr(default_factory=list)
    _context_lengths: dict[str, int] = PrivateAttr(default_factory=dict)

    @property
    def snapshot(self) -> SettingsSnapshot:
        """The settings of this run, with what the launchpad changes of the vLLM server."""
        snapshot = self.settings.snapshot
        settings = snapshot.settings
        vllm = self.vllm.in_force(settings.vllm, settings.launchpad)
        return snapshot.with_settings(vllm=vllm)

    def dialogue_context(self) -> DialogueContext:
        """Return what every dialogue of this run is given."""
        snapshot = self.snapshot
        # This engine only gives its name. The driver makes the one that answers.
        return make_dialogue_context(snapshot, make_engine(snapshot.settings))

    def check_context(
        self,
        stages: Collection[str],
        log: Callable[[str], None],
        deliberation: DeliberationSettings | None = None,
    ) -> None:
        """Check that the requests of some stages fit their servers, once for each stage.

        Args:
            stages: those that the run is going to make.
            log: called with a line about what may not fit or cannot be checked.
            deliberation: in place of that of the settings.

        Raises:
            SetupError: a request of usual length would not fit, or the target's server cannot do
                what the position of the belief asks of it.
        """
        snapshot = self.snapshot
        if deliberation:
            snapshot = snapshot.with_settings(deliberation=deliberation)
        settings = snapshot.settings
        names = frozenset(stages)
        for checked_settings, checked_names in self._checked:
            if checked_settings == settings and names <= checked_names:
                return
        engine = make_engine(settings)
        if Stage.PREFERENCE_PAIRS in names:
            require_continuation(settings, engine)
        dialogue_context = make_dialogue_context(snapshot, engine)
        findings = context_findings(settings, dialogue_context, engine, names)
        for warning in require_context(findings, settings, dialogue_context):
            log(warning)
        self._context_lengths.update(known_lengths(findings))
        self._checked.append((settings, names))

    def drive(
        self,
        tasks: Sequence[DialogueTask[T]],
        on_progress: Callable[[Progress], None],
        log: Callable[[str], None],
        then: Sequence[NextStage] = (),
    ) -> tuple[list[T | Failure], Progress]:
        """Run the dialogues to their ends; see `engines.driver`.

        Args:
            tasks: the rows' dialogues.
            on_progress: called every half second.
            log: called with a line when a server starts, goes away or comes back.
            then: stages that may be read ahead from rows that are done. Reading ahead goes on after
                this returns, until the run ends.

        Raises:
            EngineUnusable: no call can succeed, in this step or another one of the run.
        """
        # Other steps of the run would only be refused as well, and pay for the calls.
        if self._unusable:
            raise self._unusable
        try:
            settings = self.snapshot.settings
            # An engine that knows the length asks for no longer answer than there is room for.
            settings = with_known_lengths(settings, self._context_lengths)
            driver = self._open_driver(settings)
            return driver.drive(tasks, on_progress, log, then)
        except SetupError as error:
            unusable = EngineUnusable(str(error))
            if self._is_in_run:
                self._unusable = unusable
            raise unusable from error
        finally:
            # Outside a run there is no teardown that would close it later.
            if not self._is_in_run:
                self._close_driver()

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Let one driver serve all steps of the run. Outside a run each drive opens its own."""
        self._is_in_run = True
        if context.run is not None:
            self._batch = context.run.tags.get(PARTITION_NAME_TAG)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End reading ahead: the run is over, whether it succeeded or not."""
        unused_calls = self._close_driver()
        self._checked.clear()
        self._context_lengths.clear()
        self._unusable = None
        if unused_calls and context.log:
            counts = [f"{calls} for {stage}" for stage, calls in unused_calls.items()]
            listing = ", ".join(counts)
            context.log.info(
                f"Read-ahead calls that this run did not use; the journal keeps them: {listing}"
            )

    def _open_driver(self, settings: Settings) -> BackgroundDriver:
        # A driver serves one engine, and other settings may mean another engine.
        if self._driver_settings != settings:
            self._close_driver()
        if self._driver is None:
            self._driver_settings = settings
            self._driver = BackgroundDriver(
                partial(make_engine, settings),
                settings.journal,
                settings.driver,
                _shares_folder(settings),
                # Not before: the resource of the lake claims the batch, maybe after this setup.
                claim_of(self._batch),
            )
        return self._driver

    def _close_driver(self) -> dict[str, int]:
        """Close the driver; return the read-ahead calls that no stage used, by stage."""
        driver, self._driver = self._driver, None
        return driver.close() if driver else {}


def _shares_folder(settings: Settings) -> Path | None:
    """Where runs that use the same engine divide its slots; None: the rehearsal has no limit."""
    if settings.engine == "rehearsal":
        return None
    if settings.engine == "endpoint":
        servers = [settings.endpoint.base_url]
    else:
        servers = [settings.vllm.model_dump_json()]
    servers += sorted(role.base_url for role in settings.roles.values())
    for name in sorted({role.server for role in settings.roles.values()} - {""}):
        servers.append(settings.servers[name].base_url)
    # A NUL is in no address, so different lists of servers never join to the same text.
    joined = "\0".join(servers)
    name = hashlib.blake2b(joined.encode(), digest_size=6).hexdigest()
    return settings.home / "engines" / f"{settings.engine}-{name}"
