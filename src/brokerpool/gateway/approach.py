"""Which way a request came: to which host name, from which web page, from which address; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from brokerpool.errors import AccessError, ErrorCode

_ALL = "*"
#: What a proxy leaves behind: a request with any of these did not begin on this machine.
_TRACES = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


class Came(NamedTuple):
    """Where a request began."""

    address: str
    #: True when that is this machine itself, beyond what a proxy could hide.
    here: bool


class Approach:
    """Tells strangers' ways from those of the gateway's own clients.

    A web page that a user of this machine happens to look at may call every address that the machine
    reaches, and may even give it a name of its own (DNS rebinding). Browsers name the page in Origin and the
    address in Host, programs send no Origin.
    """

    def __init__(
        self,
        bound: str,
        *,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
        proxies: Sequence[str] = (),
    ) -> None:
        """`bound` is what the listener listens on; the others are the words of the settings."""
        self._names = {"localhost", bound.lower(), *(host.lower() for host in hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._proxies = [ip_network(proxy) for proxy in proxies]
        self._bound_here = bound.lower() == "localhost" or _is_here(_ip(bound))

    def check(self, headers: Mapping[str, str]) -> None:
        """Return for a request that may be looked at; `headers` are found whatever their case.

        Raises AccessError with HOST_NOT_ALLOWED or ORIGIN_NOT_ALLOWED.
        """
        host = _host_name(headers.get("host", ""))
        if host is None or not self._is_ours(host):
            text = "This host name is not one of the gateway's."
            raise AccessError(text, code=ErrorCode.HOST_NOT_ALLOWED)
        origin = headers.get("origin")
        if origin is not None and not self._may_call(origin.lower(), host):
            raise AccessError("The web page is not of this host.", code=ErrorCode.ORIGIN_NOT_ALLOWED)

    def came(self, peer: str, headers: Mapping[str, str]) -> Came:
        """Return where a request began whose TCP connection comes from `peer`."""
        address = _ip(peer)
        if address is None:
            return Came(peer, here=False)
        if self._is_proxy(address):
            # The nearest hop stands last; what stands before a stranger's may be made up by it.
            for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
                before = _ip(hop.strip())
                if before is None:
                    break
                address = before
                if not self._is_proxy(before):
                    break
            return Came(str(address), here=False)
        direct = not any(trace in headers for trace in _TRACES)
        return Came(str(address), here=direct and self._bound_here and _is_here(address))

    def _is_ours(self, host: str) -> bool:
        # An address cannot be rebound: whoever calls it meant it.
        return not host or host in self._names or _ALL in self._names or _ip(host) is not None

    def _may_call(self, origin: str, host: str) -> bool:
        if _ALL in self._origins or origin in self._origins:
            return True
        scheme, _, rest = origin.partition("://")
        return bool(host) and scheme in ("http", "https") and _host_name(rest) == host

    def _is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._proxies)


def _host_name(text: str) -> str | None:
    """Return the name in a Host header, without its port; None for what is no host."""
    try:
        parts = urlsplit(f"//{text}")
        parts.port  # noqa: B018  (raises for one that is none)
    except ValueError:
        return None
    if parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return (parts.hostname or "").rstrip(".")


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_here(address: IPv4Address | IPv6Address | None) -> bool:
    return address is not None and address.is_loopback
