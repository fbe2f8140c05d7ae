"""Where connections to a broker leave from: through which proxy, from which address, over which family."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from brokerpool.errors import SettingsError

Family: TypeAlias = Literal["any", "ipv4", "ipv6"]

#: In place of a proxy: none, whatever the environment says.
DIRECT = "direct"

_FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
#: The variables that name a proxy for a scheme, the first that is set wins; in lower or upper case.
_VARIABLES = {
    "http": ("http_proxy", "all_proxy"),
    "https": ("https_proxy", "all_proxy"),
    "ws": ("ws_proxy", "http_proxy", "all_proxy"),
    "wss": ("wss_proxy", "https_proxy", "all_proxy"),
}


class Proxy(NamedTuple):
    """An HTTP proxy; the URL may hold a login, so `repr` and `str` show host and port only."""

    url: str
    #: Host and port, for people.
    name: str

    def __repr__(self) -> str:
        return f"<Proxy {self.name}>"

    def __str__(self) -> str:
        return self.name


class Egress:
    """Says where dials, calls and the instrument list leave from; the same object serves all three.

    Brokers that take orders from registered addresses only need it where a machine has several. A machine
    itself (localhost, 127.0.0.1) is always reached without a proxy. `repr` shows no login.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        source_address: str | None = None,
        family: Family = "any",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`proxy` is the http:// or https:// URL of one, with a login where it needs one, or "direct".

        Without it HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of the environment count, as they are now.
        `source_address` is an address of this machine, which also settles the family; `family` is "ipv4" or
        "ipv6" for that alone. Raises ValueError for what is none of these; a proxy is not quoted.
        """
        if family not in _FAMILIES:
            raise ValueError(f"family is {', '.join(_FAMILIES)}, and not {family!r}")
        self.family = _FAMILIES[family]
        self.source_address = source_address
        if source_address is not None:
            try:
                own = socket.AF_INET6 if ip_address(source_address).version == 6 else socket.AF_INET
            except ValueError:
                raise ValueError(f"source_address is an IP address, and not {source_address!r}") from None
            if self.family not in (socket.AF_UNSPEC, own):
                raise ValueError(f"the source address {source_address} does not belong to {family}")
            self.family = own
        self._proxy = None if proxy in (None, DIRECT) else parse_proxy(str(proxy))
        self._variables = {} if proxy is not None else _proxy_variables(environ)

    @property
    def local_addr(self) -> tuple[str, int] | None:
        """The address to bind to, with any port; None for whatever the system chooses."""
        return None if self.source_address is None else (self.source_address, 0)

    def route(self, url: str) -> Proxy | None:
        """Return the proxy through which the URL is reached; None when it is reached directly.

        Raises SettingsError for a proxy of the environment that cannot be used, and for a host that is an
        address of a family that is not allowed.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        proxy = None if _this_machine(host) else self._proxy or self._of_environment(parts)
        via = urlsplit(proxy.url).hostname or "" if proxy is not None else host
        address = _address(via)
        if address is not None and self.family not in (socket.AF_UNSPEC, _FAMILIES[f"ipv{address.version}"]):
            raise SettingsError(f"{via} cannot be reached over the one family that is allowed: {self!r}.")
        return proxy

    def fault(
        self, url: str, error: BaseException, *, refused: int | None = None, proxy_away: bool = False
    ) -> str | None:
        """Say why no connection came about, when the proxy or the source address has a part in it.

        `refused` is the HTTP status with which the proxy did, `proxy_away` that it could not be reached.
        """
        proxy = self.route(url)
        if refused is not None:
            return f"the proxy {proxy} refused to connect to it with HTTP {refused}"
        cause = getattr(error, "os_error", error)
        if self.source_address and isinstance(cause, OSError) and cause.errno == errno.EADDRNOTAVAIL:
            return f"{self.source_address}, from which it should leave, is no address of this machine"
        if proxy_away:
            return f"the proxy {proxy} cannot be reached"
        return f"{type(error).__name__}, through the proxy {proxy}" if proxy is not None else None

    def __repr__(self) -> str:
        proxy = self._proxy or ("environment" if self._variables else None)
        parts = {"proxy": proxy, "source": self.source_address}
        names = {number: name for name, number in _FAMILIES.items()}
        said = "".join(f" {name} {value}" for name, value in parts.items() if value)
        return f"<Egress {names[self.family]}{said}>"

    def _of_environment(self, parts: SplitResult) -> Proxy | None:
        for name in _VARIABLES.get(parts.scheme, ()):
            if value := self._variables.get(name):
                if _excepted(parts, self._variables.get("no_proxy", "")):
                    return None
                try:
                    return parse_proxy(value)
                except ValueError as fault:
                    raise SettingsError(
                        f"{name.upper()} of the environment: {fault}. Correct it, or set BROKERPOOL_PROXY"
                        " (in a program: Egress(proxy=...)), which wins over it."
                    ) from None
        return None


def parse_proxy(text: str) -> Proxy:
    """Return the proxy that a URL names, an http:// one where it has no scheme.

    Raises ValueError, which quotes nothing.
    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme.startswith("socks"):
        raise ValueError("a SOCKS proxy is not carried: give the http:// URL of an HTTP proxy, or direct")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port or parts.path not in ("", "/"):
        raise ValueError("a proxy is the http:// or https:// URL of a host, or direct")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return Proxy(f"{parts.scheme}://{login}{host}:{port}", f"{host}:{port}")


def _proxy_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of proxies under their lower-case names; where both are set, that one wins."""
    found: dict[str, str] = {}
    for name in sorted(environ):  # upper case first
        if name.lower().endswith("_proxy"):
            found[name.lower()] = environ[name]
    if "REQUEST_METHOD" in environ and "http_proxy" not in environ:
        found.pop("http_proxy", None)  # in a CGI program HTTP_PROXY is a header of the client's
    return {name: value for name, value in found.items() if value}


def _excepted(parts: SplitResult, no_proxy: str) -> bool:
    """Tell whether NO_PROXY names the host: itself, a domain that it is in, its network, or * for all."""
    host = (parts.hostname or "").rstrip(".")
    address = _address(host)
    for word in filter(None, (word.strip().lower() for word in no_proxy.split(","))):
        if address is not None and "/" in word:
            try:
                if address in ip_network(word, strict=False):
                    return True
            except ValueError:
                pass
            continue
        name, _, port = word.rpartition(":") if word.count(":") == 1 else (word, "", "")
        if port and port != str(parts.port or {"https": 443, "wss": 443}.get(parts.scheme, 80)):
            continue
        name = name.strip("[]").removeprefix("*").removeprefix(".")
        if word == "*" or host == name or (name and host.endswith(f".{name}")):
            return True
    return False


def _this_machine(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
