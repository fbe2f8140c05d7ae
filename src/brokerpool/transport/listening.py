"""Where a listener listens: one socket for each address of its host, all with the same port."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeAlias
from weakref import WeakSet

logger = logging.getLogger("brokerpool.transport")

Address: TypeAlias = tuple[socket.AddressFamily, Any]

#: Every address of the machine, in both families.
_EVERYWHERE = "::"
#: How often another free port is tried, when the first is taken in the second family.
_PORTS_TRIED = 20
#: Connections that asyncio is to take in at once, given to it as the backlog: it takes as many as that in one
#: turn of the event loop and, where no descriptor is left, fails as often. The system's own is longer.
ACCEPTED_A_TURN = 64
#: In so many turns of the loop a transport has noticed that its peer is gone, and has closed its socket.
_TURNS_TO_NOTICE = 10
#: What the system says of an address that the machine has not, and of a family that it does not know.
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class ListeningSocket(socket.socket):
    """A listening socket that aiofastnet can pause, and that can have nobody accepted any more."""

    accepting = True

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._accepted: WeakSet[socket.socket] = WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.accepting:
            raise BlockingIOError
        accepted, address = super().accept()
        self._accepted.add(accepted)
        return accepted, address

    @property
    def accepted(self) -> list[socket.socket]:
        """The sockets of those who were accepted here and are still connected."""
        return [sock for sock in self._accepted if sock.fileno() != -1]

    def remove_reader(self, descriptor: int) -> None:
        """Take a socket from the loop, which aiofastnet asks its listening socket for, not the loop.

        It does when no descriptor is left; without this it would try again at once, and for ever.
        """
        asyncio.get_running_loop().remove_reader(descriptor)


async def accept_no_more(sockets: Iterable[ListeningSocket]) -> None:
    """Accept nobody from now on, and return when what was accepted is a connection; then servers may close.

    What a loop accepts in one turn becomes a connection in the next. asyncio leaves it open for good when its
    listener has been closed in between.
    """
    for sock in sockets:
        sock.accepting = False
    await asyncio.sleep(0)


async def cut_off(sockets: Sequence[ListeningSocket]) -> None:
    """End every connection that was accepted, and return when that has been noticed, in a few turns."""
    for sock in (accepted for listening in sockets for accepted in listening.accepted):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    for _ in range(_TURNS_TO_NOTICE):
        if not any(listening.accepted for listening in sockets):
            break
        await asyncio.sleep(0)


async def listen_on(
    host: str, port: int, *, backlog: int = 128, shared: bool = False
) -> list[ListeningSocket]:
    """Return listening sockets for the host; `::` is every IPv6 and every IPv4 address.

    A `shared` port may be listened on by other processes of the same user that share it too; the system
    spreads new connections over them. With port 0 all of them have the same free one. Addresses that the
    machine has not are left out, with a warning, as long as others remain: so `::` and `localhost` do
    without IPv6. Raises OSError for a name that is unknown, for an address that is not the machine's, and
    for one that is taken.
    """
    addresses = await _addresses(host, port)
    for _ in range(_PORTS_TRIED):
        try:
            return _listening(addresses, backlog, shared=shared)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"no port is free in both families of {host}")


def lengthen_backlog(sockets: Iterable[socket.socket], backlog: int = 128) -> None:
    """Let the system keep so many connections that wait, once asyncio has set its own number."""
    for sock in sockets:
        sock.listen(backlog)


def url_host(host: str) -> str:
    """Return a host as it stands in a URL: IPv6 addresses have brackets there."""
    return f"[{host}]" if ":" in host else host


async def _addresses(host: str, port: int) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    addresses: list[Address] = [(family, address) for family, _, _, _, address in found]
    if host == _EVERYWHERE:
        addresses.append((socket.AF_INET, ("0.0.0.0", port)))
    return list(dict.fromkeys(addresses))


def _listening(addresses: Sequence[Address], backlog: int, *, shared: bool) -> list[ListeningSocket]:
    sockets: list[ListeningSocket] = []
    absent: OSError | None = None
    with ExitStack() as until_all_listen:
        for family, (host, port, *zone) in addresses:
            if port == 0 and sockets:
                port = sockets[0].getsockname()[1]
            try:
                # IPv6 alone, also where the system's default is both: IPv4 has a socket of its own.
                plain = socket.create_server(
                    (host, port, *zone), family=family, backlog=backlog, reuse_port=shared
                )
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                logger.warning("%s is not listened on: %s", host, error.strerror)
                continue
            sock = ListeningSocket(fileno=plain.detach())
            until_all_listen.callback(sock.close)
            sockets.append(sock)
        if not sockets:
            raise absent or OSError(errno.EADDRNOTAVAIL, "the host has no address")
        until_all_listen.pop_all()
    return sockets
