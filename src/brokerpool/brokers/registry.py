"""The brokers that are installed: ours, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple, Protocol

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.egress import Egress
from brokerpool.errors import SettingsError

#: The group of entry points under which a package registers its `Broker`, by the broker's name.
GROUP = "brokerpool.brokers"


@dataclass(frozen=True, slots=True)
class Access:
    """What a person gives so that an account can be used; `repr` shows no secret.

    An address that is empty is the broker's own.
    """

    api_key: str = field(repr=False)
    credentials: Credentials
    api_secret: str = field(default="", repr=False)
    ws_url: str = ""
    http_url: str = ""
    login_url: str = ""
    #: What the broker's login needs besides, by the broker's names for it.
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    provider: Provider | None = None
    egress: Egress | None = None
    #: Whether the account carries orders, so that it is to tell what becomes of them.
    orders: bool = False
    #: Whether the account has the broker's deeper order book: `FullAccount.deep_book` of brokers with one.
    deep_book: bool = False


class Holder(NamedTuple):
    """Whose account it is: the broker's user id, and the name."""

    user: str
    name: str

    def __str__(self) -> str:
        return f"{self.user} ({self.name})" if self.name else self.user


class LoginSession(Protocol):
    """Makes credentials of a person's login, and asks whose they are; `repr` and errors show no secret.

    Each call is made once and takes a bounded time. Raises BrokerError: BROKER_REFUSED_CREDENTIALS for what
    the broker does not accept, BROKER_UNREACHABLE and PROXY_REFUSED when there is no answer.
    """

    def login_address(self, state: str = "") -> str:
        """Return the page on which the holder logs in; it hands the `state` on to where it leads."""
        ...

    def redirected(self, text: str) -> str | None:
        """Return what the address holds to which the login led; None for what is no address.

        Raises ValueError, which quotes nothing, for an address without it.
        """
        ...

    def secret(self, redirected: str) -> str:
        """Return what a person calls the secret with which this is exchanged; empty where none is needed."""
        return "API secret of the app"

    async def exchange(self, redirected: str, api_secret: str) -> Credentials:
        """Return the credentials for what a login has given; the secret is the one that was asked for."""
        ...

    async def tried(self, access_token: str) -> tuple[Holder, Credentials]:
        """Return whose token it is, and the credentials with that and with when they end."""
        ...

    def until(self, expires_at: float) -> str:
        """Return an end, in epoch seconds, as the broker's customers read it."""
        ...


class Broker(Protocol):
    """One broker, as the settings name it: how an account of it is made, and how one logs in."""

    #: In lower case, as clients see it; that of the entry point.
    name: str
    #: What the broker publishes.
    limits: FeedLimits
    #: Whether the app's key is the whole login: an account then needs no access token, and no login a day.
    key_is_login: bool = False

    def account(self, access: Access) -> FullAccount:
        """Return an account; nothing is dialled here."""
        ...

    def session(self, access: Access, *, timeout: float = 10.0) -> LoginSession:
        """Return what logs in with the app that the access names; a call takes `timeout` seconds at most."""
        ...


def names() -> list[str]:
    """Return the names of the brokers that are installed; none of them is loaded."""
    return sorted(_installed())


def broker(name: str) -> Broker:
    """Return the broker of this name. Raises SettingsError for one that is not installed or does not load."""
    point = _installed().get(name)
    if point is None:
        raise SettingsError(f"BROKERPOOL_BROKER: no broker {name!r} is installed, but {', '.join(names())}.")
    try:
        found: Broker = point.load()
    except Exception as error:
        raise SettingsError(
            f"BROKERPOOL_BROKER: {name} is installed and does not load: {point.value} raised"
            f" {type(error).__name__}: {error}."
        ) from error
    return found


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
