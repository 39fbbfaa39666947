"""HTTP sessions with model servers: the key, proxies, no cookies."""

import aiohttp

from aidsafe_dagster.engines.api_key import bearer_header, read_api_key
from aidsafe_dagster.engines.proxies import proxy_for
from aidsafe_dagster.engines.settings import ServerSettings

_CONNECT_TIMEOUT_S = 10


def open_session(settings: ServerSettings, timeout_s: float) -> aiohttp.ClientSession:
    """Open a session with a server.

    Args:
        settings: of the server.
        timeout_s: for one call.

    Raises:
        SetupError: the key cannot be one, or the proxy is of a kind that is not supported.
    """
    return aiohttp.ClientSession(
        # The driver limits the calls. A second limit here would hide the queue from it.
        connector=aiohttp.TCPConnector(limit=0),
        # A router's cookie would bind all calls to one of its servers.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
        headers=bearer_header(read_api_key(settings.api_key_env)),
        # Not `trust_env`: it would send what `.netrc` says in place of the key.
        proxy=proxy_for(settings.base_url),
    )
