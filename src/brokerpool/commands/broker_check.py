"""Whether the broker takes the login and serves the account: its list, one call, and one connection."""

from __future__ import annotations

import asyncio

from brokerpool.brokers import registry
from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.registry import Access, LoginSession
from brokerpool.brokers.wire import Signal, SignalKind, Wire
from brokerpool.callback_isolation import Fence
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode, SettingsError
from brokerpool.feed.dial import DIAL_SECONDS, Failure, attempt, dialling
from brokerpool.feed.sending_permission import ALONE
from brokerpool.monitor.health_reasons import Code
from brokerpool.settings import AccountSettings
from brokerpool.transport import Link, LinkHandler
from brokerpool.untrusted_text import remembered


async def faults(
    account: AccountSettings, credentials: Credentials, source: str, egress: Egress | None = None
) -> list[str]:
    """Return one sentence for each part of the account's broker that the gateway would not get.

    `source` is where the credentials are from. Without an app's key, or without a login, the instrument list
    alone is tried.
    """
    broker = registry.broker(account.broker)
    access = account.access(credentials, egress=egress)
    feed = broker.account(access)
    unlisted = await _instruments(feed)
    # Where customers only see the list, its refusal is the login's, which is told once.
    private = unlisted is not None and unlisted.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
    login = None
    given = bool(access.api_key and (credentials.access_token or broker.key_is_login))
    if given:
        session = broker.session(access) if unlisted is None or private else None
        ends = "most brokers end a login every night"
        refused = f"{source}: the broker refuses it; {ends}. {Code.LOGIN_REFUSED.action}"
        if broker.key_is_login:
            renewed = f"Put the key that it has now into {account.setting('api_key')}"
            refused = f"{source}: the broker refuses it. {renewed}, or store it with `brokerpool login`."
        login = await _login(account, feed, access, session, refused)
    found = [login] if login else []
    if unlisted is not None and not (private and (login or not given)):
        setting = "" if isinstance(unlisted, SettingsError) else f"{account.setting('http_url')}: "
        found.insert(0, f"{setting}{unlisted}")
    return found


async def _instruments(feed: FullAccount) -> BrokerpoolError | None:
    try:
        await feed.instruments()
    except (BrokerError, SettingsError) as error:
        return error
    return None


async def _login(
    account: AccountSettings,
    feed: FullAccount,
    access: Access,
    session: LoginSession | None,
    refused: str,
) -> str | None:
    """Try the login with one call, unless the broker is away, and then with one connection of the feed.

    `refused` is what to say where the broker refuses it.
    """
    if session is not None:
        try:
            await session.tried(feed.login.credentials.access_token)
        except BrokerError as error:
            if error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS:
                return refused
            return f"{account.setting('http_url')}: the login could not be tried: {error}"
    failure = await _dialled(feed, access.egress)
    if failure is None or failure.busy:  # with all its connections open, the broker and the login are fine
        return None
    if failure.parks:
        # What HTTP takes and the feed does not: an app without the feed, or a further token of the login.
        app = f"{account.setting('api_key')}: the feed refuses this app, or its part of the login"
        return refused if session is None else f"{app}: {failure.fault}."
    return f"{account.setting('ws_url')}: {failure.fault}."


async def _dialled(feed: FullAccount, egress: Egress | None) -> Failure | None:
    """Open one connection of the feed for a moment; return why it does not become live, if so."""
    probe = _Probe(feed.wire())
    link = await attempt(feed, probe, dialling(None, egress, ALONE), Fence("check"))
    if isinstance(link, Failure):
        return link
    try:
        return await probe.greeted(link)
    finally:
        link.close()
        await probe.gone.wait()  # bounded: the link drops the TCP connection when the peer is slow


class _Probe(LinkHandler):
    """Says what the broker wants to hear first, and notices when the connection has ended."""

    def __init__(self, wire: Wire) -> None:
        self.gone = asyncio.Event()
        self._wire = wire
        self._answer: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()

    async def greeted(self, link: Link) -> Failure | None:
        """Return why the connection does not become live, if so."""
        hello = self._wire.hello()
        for message in hello:
            if isinstance(message, str):
                link.send_text(message)
            else:
                link.send_binary(message)
        if not hello:
            return None
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                answer = await self._answer
        except TimeoutError:
            return Failure(f"no answer to the login within {DIAL_SECONDS:g} s")
        refused = answer.kind is SignalKind.LOGIN_REFUSED
        ready = answer.kind is SignalKind.READY
        return None if ready else Failure(remembered(answer.words), parks=refused)

    def text(self, message: str) -> None:
        self._wire.text(message, {}, 0)
        self._hear()

    def binary(self, message: bytes | memoryview) -> None:
        self._wire.binary(message, {}, 0)
        self._hear()

    def closed(self, code: int, reason: str) -> None:
        self.gone.set()
        self._heard(Signal(SignalKind.TOLD, f"closed at the login with {code} {reason}".rstrip()))

    def _hear(self) -> None:
        for signal in self._wire.signals:
            if signal.kind in (SignalKind.READY, SignalKind.LOGIN_REFUSED):
                self._heard(signal)
        self._wire.signals.clear()

    def _heard(self, answer: Signal) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)
