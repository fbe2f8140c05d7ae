"""Which way a request came: to which host name, from which web page, from which address; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from brokerpool.errors import AccessError, ErrorCode
from brokerpool.gateway import forwarded_headers
from brokerpool.gateway.forwarded_headers import Address

_ALL = "*"
#: What a proxy leaves behind: a request with a header that begins like this did not begin on this machine.
_TRACES = (
    "x-forwarded",
    "forwarded",
    "x-real-ip",
    "via",
    "x-client-ip",
    "cf-connecting-ip",
    "true-client-ip",
)
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}
_MAPPED = IPv6Network("::ffff:0:0/96")


class Came(NamedTuple):
    """Where a request began."""

    address: str
    #: True when that is this machine itself, beyond what a proxy or a web page could hide.
    here: bool


class RequestOrigin:
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
        self._names = {"localhost", bound.lower(), *(host.lower().rstrip(".") for host in hosts)}
        self._origins = {_plain_origin(origin) for origin in origins}
        self._proxies = [_plain_network(proxy) for proxy in proxies]
        self._bound_here = bound.lower() == "localhost" or _is_here(forwarded_headers.address(bound))

    def check(self, headers: Mapping[str, str]) -> None:
        """Return for a request that may be looked at.

        Names in `headers` may be written in any case and come several times. Raises AccessError with
        HOST_NOT_ALLOWED or ORIGIN_NOT_ALLOWED.
        """
        host = _host(headers)
        if host is None or not self._is_ours(host):
            text = "This host name is not one of the gateway's."
            raise AccessError(text, code=ErrorCode.HOST_NOT_ALLOWED)
        if _lines(headers, "origin") and self.allowed_origin(headers) is None:
            raise AccessError("The web page is not of this host.", code=ErrorCode.ORIGIN_NOT_ALLOWED)

    def allowed_origin(self, headers: Mapping[str, str]) -> str | None:
        """Return the origin of the web page that asks, as it was sent; None without one that may ask."""
        lines, host = _lines(headers, "origin"), _host(headers)
        if len(lines) != 1 or host is None or not self._is_ours(host):
            return None  # of two lines one would be for us, and one for whoever reads the other
        origin = _plain_origin(lines[0])
        if _ALL in self._origins or origin in self._origins or _is_page_of(origin, host):
            return lines[0]
        return None

    def only_as_everybody(self, origin: str) -> bool:
        """Return whether a page that may ask is named nowhere, and may because any page may."""
        return _ALL in self._origins and _plain_origin(origin) not in self._origins

    def came(self, peer: str, headers: Mapping[str, str]) -> Came:
        """Return where a request began whose TCP connection comes from `peer`."""
        address = forwarded_headers.address(peer)
        if address is None:
            return Came(peer, here=False)
        if self._is_proxy(address):
            return Came(str(self._before(address, headers)), here=False)
        direct = not any(name.lower().startswith(_TRACES) for name in headers) and _is_own_page(headers)
        return Came(str(address), here=direct and self._bound_here and _is_here(address))

    def _before(self, proxy: Address, headers: Mapping[str, str]) -> Address:
        """Return who asked the trusted proxies between us.

        A proxy that writes one of the two headers may let the other pass as its client made it up. So where
        both stand they must agree, or neither is believed and the proxy itself is who asked.
        """
        told = {
            self._first_stranger(proxy, read(lines))
            for name, read in (
                ("x-forwarded-for", forwarded_headers.x_forwarded_for),
                ("forwarded", forwarded_headers.forwarded),
            )
            if (lines := _lines(headers, name))
        }
        return told.pop() if len(told) == 1 else proxy

    def _first_stranger(self, proxy: Address, hops: Iterator[Address | None]) -> Address:
        # What stands before a stranger's may be made up by it.
        for hop in hops:
            if hop is None:
                break
            proxy = hop
            if not self._is_proxy(hop):
                break
        return proxy

    def _is_ours(self, host: str) -> bool:
        # An address cannot be rebound: whoever calls it meant it.
        return (
            not host
            or host in self._names
            or _ALL in self._names
            or forwarded_headers.address(host) is not None
        )

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def _lines(headers: Mapping[str, str], name: str) -> list[str]:
    """Return all lines of a header in their order; `items` of a multiple mapping tells each of them."""
    return [value for key, value in headers.items() if key.lower() == name]


def _host(headers: Mapping[str, str]) -> str | None:
    """Return the name of the host that is asked, "" without one; None for what is no host, and for two."""
    lines = _lines(headers, "host")
    return None if len(lines) > 1 else _host_name(lines[0] if lines else "")


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


def _is_page_of(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    return bool(host) and scheme in ("http", "https") and _host_name(rest) == host


def _plain_origin(text: str) -> str:
    origin = text.lower().rstrip("/")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], "/"))


def _plain_network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        address = network.network_address.ipv4_mapped
        return IPv4Network(f"{address}/{network.prefixlen - _MAPPED.prefixlen}")
    return network


def _is_own_page(headers: Mapping[str, str]) -> bool:
    """Return whether a program asks, or a page that this very listener showed (a same-origin request)."""
    origin = _lines(headers, "origin")
    return not origin or origin[0].lower().partition("://")[2] == "".join(_lines(headers, "host")).lower()


def _is_here(address: Address | None) -> bool:
    return address is not None and address.is_loopback
