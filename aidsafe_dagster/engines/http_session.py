"""HTTP sessions with model servers: the key, proxies, no cookies."""

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from aidsafe_dagster.engines.settings import ServerSettings
from aidsafe_dagster.recipe.errors import SetupError

_CONNECT_TIMEOUT_S = 10


def server_key(settings: ServerSettings) -> str:
    """Return the key of a server without white space around it; empty if there is none.

    Raises:
        SetupError: the key cannot be sent in a header. Names the variable, never the key.
    """
    key = os.environ.get(settings.api_key_env, "").strip()
    if any(character.isspace() or not character.isprintable() for character in key):
        raise SetupError(
            f"the key in {settings.api_key_env} holds white space or a control character, "
            "which no key does; perhaps two lines were copied"
        )
    if not key.isascii():
        raise SetupError(
            f"the key in {settings.api_key_env} holds a character that is not ASCII, "
            "which no key does; perhaps a quotation mark or a dash was copied with it"
        )
    return key


def is_loopback(url: str) -> bool:
    """Return whether a URL leads to this machine, which no proxy is asked about."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL; None: it is reached directly."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def open_session(settings: ServerSettings, timeout_s: float) -> aiohttp.ClientSession:
    """Open a session with a server.

    Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).

    Args:
        settings: of the server.
        timeout_s: for one call.

    Raises:
        SetupError: the key cannot be sent in a header.
    """
    key = server_key(settings)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return aiohttp.ClientSession(
        # The driver limits the calls. A second limit here would hide the queue from it.
        connector=aiohttp.TCPConnector(limit=0),
        # A router's cookie would bind all calls to one of its servers.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
        headers=headers,
        # Not `trust_env`: it would send what `.netrc` says in place of the key.
        proxy=proxy_for(settings.base_url),
    )
