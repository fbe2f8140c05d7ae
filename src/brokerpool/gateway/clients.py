"""Who a client is: its number, whose key it showed, from where and since when; the one place that knows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from brokerpool.event_journal import Event, Journal
from brokerpool.repeated_log_messages import Complaints
from brokerpool.untrusted_text import remembered

logger = logging.getLogger("brokerpool.gateway")

_CLIENT = "client-"
#: Characters of what a client says of itself that are kept.
LONGEST_AGENT = 100
_LONGEST_NAME = 64
#: Comings and goings that are told in a minute, one by one; a program that connects in a loop fills no log.
TOLD_A_MINUTE = 600


class Client(NamedTuple):
    """One client that has authenticated; nothing in it is secret, and no text is longer than a line."""

    number: int
    #: The name of its key, never the key.
    key: str
    address: str
    #: What it calls itself, as in "Python/3.11 websockets/15.0"; empty when it does not.
    user_agent: str
    #: Epoch milliseconds at which it authenticated.
    since_ms: int

    @property
    def name(self) -> str:
        """Its name in the log and as an owner, as in client-7."""
        return client_name(self.number)

    def __str__(self) -> str:
        """Return who it is, for people."""
        agent = f", user agent {self.user_agent}" if self.user_agent else ""
        return f'key "{self.key}" from {self.address}{agent}'


class Clients:
    """The authenticated clients that are connected, by number; tells log and journal who comes and goes."""

    def __init__(
        self,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._wall_clock = wall_clock
        self._clients: dict[int, Client] = {}
        self._complaints = Complaints(TOLD_A_MINUTE)

    def came(self, number: int, key: str, address: str, user_agent: str) -> None:
        """Note who the client with this number is; with another key it is somebody else from now on."""
        key, agent = remembered(key, _LONGEST_NAME), remembered(user_agent, LONGEST_AGENT)
        client = Client(number, key, remembered(address), agent, int(self._wall_clock() * 1000))
        self._clients[number] = client
        self._tell(Event.CLIENT_CAME, client, f"{client.name} authenticated: {client}", {})

    def left(self, number: int, code: int, reason: str) -> None:
        """Forget a client, and tell how it ended."""
        client = self._clients.pop(number)
        seconds = max(0.0, self._wall_clock() - client.since_ms / 1000)
        text = f"{client.name} left: {code} {reason}".rstrip()
        self._tell(
            Event.CLIENT_LEFT, client, f"{text}; {client}, after {seconds:.0f} s", {"close_code": code}
        )

    def get(self, number: int) -> Client | None:
        """Return who has this number; None for one that is gone or has shown no key."""
        return self._clients.get(number)

    def key_of(self, number: int) -> str:
        """Return the name of the client's key, empty for one that is gone."""
        client = self._clients.get(number)
        return client.key if client is not None else ""

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    def __repr__(self) -> str:
        return f"<Clients {len(self)} connected>"

    def review(self) -> None:
        """Tell what was counted, once a minute; to be called every second or so."""
        if summary := self._complaints.summary(self._clock()):
            logger.info("clients come and go: %s", summary)

    def _tell(self, event: Event, client: Client, text: str, more: dict[str, int]) -> None:
        if self._complaints.heard(text, self._clock()):
            logger.info("%s", text, extra={"client": client.name, **more})
            self._journal.note(event, reason=text)


def client_name(number: int) -> str:
    """Return the name of a client with this number, in the log and as an owner."""
    return f"{_CLIENT}{number}"


def client_number(owner: str) -> int:
    """Return the number that a client has in the log, 0 for an owner that is no client of the gateway."""
    number = owner.removeprefix(_CLIENT)
    return int(number) if number != owner and number.isdigit() else 0
