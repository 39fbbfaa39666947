"""Which proxy leads to a model server, by the usual environment variables.

HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, in capitals or small letters. This machine
itself is never reached through a proxy. The HTTP clients' own reading of these variables is not
used: they differ in ALL_PROXY, in networks under NO_PROXY and in loopback addresses, and with it
they would send what `.netrc` says in place of the key.
"""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies

from aidsafe_dagster.recipe.errors import SetupError

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str) -> str | None:
    """Return the URL of the proxy that leads to a server. None: it is reached directly.

    Raises:
        SetupError: the proxy is of a kind that is not supported.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    proxies = getproxies()
    if _is_this_machine(host) or _is_exempt(host, port, proxies.get("no", "")):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    kind = proxy.partition("://")[0]
    if kind not in ("http", "https"):
        raise SetupError(
            f"{url}: the proxy {proxy} is of the kind '{kind}', and only http and https "
            f"proxies are supported; set {parts.scheme.upper()}_PROXY, or NO_PROXY={host}"
        )
    return proxy


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    if address is None:
        return False
    return address.is_loopback or address.is_unspecified


def _is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists a host, by its name, domain, address or network."""
    entries = no_proxy.replace(",", " ").split()
    return any(_is_match(entry.lower(), host, port) for entry in entries)


def _is_match(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if address is not None:
        with suppress(ValueError):
            return address in ip_network(entry.strip("[]"), strict=False)
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        entry = name
    domain = entry.strip("[]").removeprefix("*").lstrip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
