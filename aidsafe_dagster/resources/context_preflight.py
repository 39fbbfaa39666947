"""The context preflight: would the longest requests fit, before any of them is sent?

`recipe.context_plan` tells how long the requests of each role get, `engines.server_facts` how much
the role's server holds. What would not fit stops the run before its first call; what only an
unusually long row would exceed is a warning. So is an answer that `[answers]` allows and that
`max_tokens` or the context would cut: most answers are far smaller.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from aidsafe_dagster.engines.protocol import Engine
from aidsafe_dagster.engines.roles import RoleSettings, for_speaker
from aidsafe_dagster.engines.server_facts import context_length
from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.engines.vllm.server import VLLMServer
from aidsafe_dagster.recipe.context_plan import (
    EXTREME,
    FULL,
    LIKELY,
    AnswerSizes,
    PlannedRequest,
    plan_requests,
)
from aidsafe_dagster.recipe.dialogue import DialogueContext
from aidsafe_dagster.recipe.errors import SetupError
from aidsafe_dagster.recipe.records import Role
from aidsafe_dagster.settings.schema import Settings

REHEARSAL = "rehearsal"
MANAGED = "vllm"
_MOST = 0.5
_POLICIES_SHOWN = 5


@dataclass(frozen=True)
class Server:
    """One model of one server."""

    name: str
    settings: ServerSettings


@dataclass(frozen=True)
class ContextFinding:
    """The longest request of a speaker at one point, and what its server holds."""

    request: PlannedRequest
    """Of a row with long answers."""
    extreme: PlannedRequest
    """The same of a row with unusually long ones."""
    full: PlannedRequest
    """The same with the largest answer that `[answers]` allows."""
    server: str
    length: int | None
    """Tokens of prompt and answer together; None if the server does not tell."""
    max_tokens: int | None
    """Of an answer, as it is asked for."""

    @property
    def fits(self) -> bool | None:
        """Whether a row with long answers fits; None if the server's length is not known."""
        return None if self.length is None else self.request.tokens <= self.length

    @property
    def may_overflow(self) -> bool:
        """Whether a row with unusually long answers does not fit."""
        return self.length is not None and self.extreme.tokens > self.length

    @property
    def exceeds_limit(self) -> bool:
        """Whether `max_tokens` would cut the largest answer."""
        return self.max_tokens is not None and self.full.answer_tokens > self.max_tokens

    @property
    def exceeds_context(self) -> bool:
        """Whether the context would cut the largest answer to the prompt of a long row."""
        # No bound of `[answers]` holds for the target, who may fill what room there is.
        if self.length is None or self.request.speaker == Role.TARGET:
            return False
        return self.request.prompt_tokens + self.full.answer_tokens > self.length

    def describe(self, request: PlannedRequest) -> str:
        holds = "does not tell its context length"
        if self.length is not None:
            holds = f"holds {self.length:,}"
        return (
            f"{request.title}: about {request.prompt_tokens:,} tokens of prompt and "
            f"{request.answer_tokens:,} of answer; the server '{self.server}' {holds}"
        )


def context_findings(
    settings: Settings,
    dialogue_context: DialogueContext,
    engine: Engine,
    stages: Collection[str] | None = None,
) -> list[ContextFinding]:
    """Return the longest request of every speaker at every round, in the order of the recipe.

    It asks servers for their context length, each once and for 10 s at most, and is not for use
    inside an event loop. Roles that the rehearsal plays are left out.

    Args:
        settings: of the recipe, the servers and the roles.
        dialogue_context: as for the dialogues of a run.
        engine: says which server answers a speaker.
        stages: whose requests are looked at; None: those of all stages.
    """
    if not _asks_servers(settings):
        return []
    likely = _longest(settings, dialogue_context, LIKELY, stages)
    extreme = _longest(settings, dialogue_context, EXTREME, stages)
    full = _longest(settings, dialogue_context, FULL, stages)
    servers = {}
    for request in likely.values():
        server = server_of(settings, engine, request.speaker)
        if server.name != REHEARSAL:
            servers[request.speaker] = server
    lengths = asyncio.run(_ask_lengths(settings, servers.values()))
    findings = []
    for place, request in likely.items():
        if request.speaker in servers:
            server = servers[request.speaker]
            finding = ContextFinding(
                _with_reasoning(request, server),
                _with_reasoning(extreme.get(place, request), server),
                full.get(place, request),
                server.name,
                lengths[_identity(server)],
                _max_tokens(dialogue_context, request.speaker, server),
            )
            findings.append(finding)
    return findings


def require_context(
    findings: Iterable[ContextFinding],
    settings: Settings,
    dialogue_context: DialogueContext | None = None,
) -> list[str]:
    """Return warnings for the run's log.

    Args:
        findings: on every speaker.
        settings: for what to change.
        dialogue_context: as for the findings; says how long the policies are.

    Raises:
        SetupError: a row with long answers would not fit; says who, when and what to change.
    """
    findings = list(findings)
    overflows = [finding for finding in findings if finding.fits is False]
    if overflows:
        lines = [finding.describe(finding.request) for finding in _worst(overflows)]
        listing = "\n".join(lines)
        if dialogue_context and _are_policies_to_blame(overflows, dialogue_context):
            advice = _advice_on_policies(dialogue_context)
        else:
            advice = _advice(settings)
        raise SetupError(f"{listing}\n{advice}")
    warnings = []
    for finding in _worst([finding for finding in findings if finding.may_overflow]):
        description = finding.describe(finding.extreme)
        warnings.append(f"A row of unusual length would not fit: {description}")
    warnings.extend(_bounds_warnings(findings))
    unknown = {finding.server for finding in findings if finding.length is None}
    for server in sorted(unknown):
        key = "vllm.max_model_len" if server == MANAGED else "its context_length"
        warnings.append(
            f"The server '{server}' does not tell its context length, so no request is checked "
            f"against it; set {key}"
        )
    return warnings


def _bounds_warnings(findings: Iterable[ContextFinding]) -> Iterator[str]:
    """Yield what does not agree of `[answers]`, `max_tokens` and context, a line each."""
    findings = sorted(findings, key=lambda finding: -finding.full.answer_tokens)
    cut = [finding for finding in findings if finding.exceeds_limit]
    if cut:
        largest = cut[0].full.answer_tokens
        listing = _listing(
            (finding, f"{finding.full.answer_tokens:,} of {finding.max_tokens:,}")
            for finding in cut
        )
        yield (
            f"[answers] allows more tokens than max_tokens: {listing}. A full answer would be "
            f"cut; set sampling.max_tokens = {largest}, or smaller bounds in [answers]"
        )
    tight = [finding for finding in findings if finding.exceeds_context]
    if tight:
        listing = _listing(
            (
                finding,
                f"{finding.request.prompt_tokens:,} + {finding.full.answer_tokens:,} of "
                f"{finding.length:,}",
            )
            for finding in tight
        )
        yield (
            f"[answers] allows more tokens than the context holds beside the prompt: {listing}. "
            "A full answer would be cut; set smaller bounds in [answers], or name a model that "
            "holds more"
        )


def _listing(items: Iterable[tuple[ContextFinding, str]]) -> str:
    """Return the items, the first of each speaker."""
    by_speaker: dict[str, str] = {}
    for finding, tokens in items:
        by_speaker.setdefault(finding.request.speaker, tokens)
    return ", ".join(f"{speaker} {tokens}" for speaker, tokens in by_speaker.items())


def _max_tokens(
    dialogue_context: DialogueContext, speaker: str, server: Server
) -> int | None:
    if "max_tokens" in server.settings.omit:
        return None
    by_speaker = dialogue_context.sampling_by_speaker
    return for_speaker(by_speaker, speaker, dialogue_context.sampling).max_tokens


def known_lengths(findings: Iterable[ContextFinding]) -> dict[str, int]:
    """Return the context length by server, of the shortest model where they differ."""
    lengths: dict[str, int] = {}
    for finding in findings:
        if finding.length is not None:
            known = lengths.get(finding.server, finding.length)
            lengths[finding.server] = min(known, finding.length)
    return lengths


def with_known_lengths(settings: Settings, lengths: Mapping[str, int]) -> Settings:
    """Return the settings with what servers told about their context, where none is set."""
    main = lengths.get(MANAGED if settings.engine == MANAGED else "endpoint")
    endpoint = _with_length(settings.endpoint, main)
    servers = {}
    for name, server in settings.servers.items():
        servers[name] = _with_length(server, lengths.get(name))
    return settings.model_copy(update={"endpoint": endpoint, "servers": servers})


def server_of(settings: Settings, engine: Engine, speaker: str) -> Server:
    """Return the server that answers a speaker, with the role's own model."""
    name = engine.route(speaker).server
    role = for_speaker(settings.speakers, speaker, RoleSettings())
    if name in ("endpoint", MANAGED):
        server: ServerSettings = settings.endpoint
    elif name in settings.servers:
        server = settings.servers[name]
    else:
        # A role with an address of its own, which is then the server's name.
        server = ServerSettings(base_url=name, api_key_env=role.api_key_env)
    return Server(name, role.applied_to(server))


def _asks_servers(settings: Settings) -> bool:
    has_own_server = any(
        role.server or role.base_url for role in settings.roles.values()
    )
    return settings.engine != REHEARSAL or has_own_server


def _longest(
    settings: Settings,
    dialogue_context: DialogueContext,
    sizes: AnswerSizes,
    stages: Collection[str] | None,
) -> dict[tuple[str, str], PlannedRequest]:
    """Return the longest request by speaker and round."""
    prompt_chars = min(sizes.prompt_chars, settings.ingest.max_prompt_chars)
    sizes = replace(sizes, prompt_chars=prompt_chars)
    longest: dict[tuple[str, str], PlannedRequest] = {}
    for request in plan_requests(dialogue_context, settings, sizes, stages):
        place = (request.speaker, request.when)
        if place not in longest or longest[place].tokens < request.tokens:
            longest[place] = request
    return longest


def _with_reasoning(request: PlannedRequest, server: Server) -> PlannedRequest:
    """Add what the model may think before it answers."""
    budget = server.settings.reasoning_budget
    if not budget or server.settings.reasoning == "off":
        return request
    return replace(request, answer_tokens=request.answer_tokens + budget)


def _identity(server: Server) -> tuple[str, str]:
    # One server may serve models of different lengths.
    return server.name, server.settings.model


async def _ask_lengths(
    settings: Settings, servers: Iterable[Server]
) -> dict[tuple[str, str], int | None]:
    """Return the context length by server and model."""
    distinct = {_identity(server): server for server in servers}
    answers = await asyncio.gather(
        *(_length(settings, server) for server in distinct.values())
    )
    return dict(zip(distinct, answers, strict=True))


async def _length(settings: Settings, server: Server) -> int | None:
    if server.name != MANAGED:
        return await context_length(server.settings)
    vllm = settings.vllm
    if vllm.max_model_len:
        return vllm.max_model_len
    lease = VLLMServer(vllm).lease()
    # Before its first call, no server runs that could be asked.
    base_url = f"{lease.root}/v1" if lease and lease.state == "ready" else ""
    changes = {"base_url": base_url, "model": vllm.model}
    return await context_length(server.settings.model_copy(update=changes))


def _worst(findings: Iterable[ContextFinding]) -> Iterator[ContextFinding]:
    """Yield the finding of each role that exceeds its server most."""
    worst: dict[str, ContextFinding] = {}
    for finding in findings:
        key = finding.request.speaker
        if key not in worst or worst[key].extreme.tokens < finding.extreme.tokens:
            worst[key] = finding
    yield from worst.values()


def _advice(settings: Settings) -> str:
    ways = []
    if settings.deliberation.context == "chat":
        ways.append('deliberation.context = "fresh"')
    if settings.deliberation.max_rounds > 1:
        ways.append("fewer rounds (deliberation.max_rounds)")
    ways.append("shorter answers (answers)")
    ways.append("fewer policies (use_policies)")
    listing = ", ".join(ways[:-1])
    return (
        f"Set {listing} or {ways[-1]}, or name a model that holds more; "
        "docs/settings.md has settings for 4,096 tokens"
    )


def _are_policies_to_blame(
    overflows: Iterable[ContextFinding], dialogue_context: DialogueContext
) -> bool:
    """Tell whether the policies alone would fill most of what a server holds."""
    tokens = sum(_policy_tokens(dialogue_context).values())
    lengths = [finding.length for finding in overflows if finding.length is not None]
    return tokens > _MOST * min(lengths)


def _advice_on_policies(dialogue_context: DialogueContext) -> str:
    tokens = _policy_tokens(dialogue_context)
    longest = sorted(tokens, key=lambda policy: -tokens[policy])[:_POLICIES_SHOWN]
    listing = ", ".join(f"{policy} {tokens[policy]:,}" for policy in longest)
    return (
        f"The text of the {len(tokens):,} policies alone is about {sum(tokens.values()):,} tokens "
        f"of each prompt; the longest: {listing}. Shorten them, set fewer policies (use_policies), "
        "or name a model that holds more"
    )


def _policy_tokens(dialogue_context: DialogueContext) -> dict[str, int]:
    tokens = {}
    for policy in dialogue_context.policies.policies:
        tokens[policy.id] = dialogue_context.count_tokens(policy.text)
    return tokens


def _with_length(server: ServerSettings, length: int | None) -> ServerSettings:
    if server.context_length or not length:
        return server
    return server.model_copy(update={"context_length": length})
