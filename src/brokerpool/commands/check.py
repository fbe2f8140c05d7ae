"""What `brokerpool check` tries before a start: ports, certificate, secrets, database, and the broker."""

from __future__ import annotations

from collections.abc import Sequence

from brokerpool.brokers import registry
from brokerpool.brokers.login import Credentials
from brokerpool.commands import broker_check
from brokerpool.db.url import shown
from brokerpool.errors import BrokerpoolError, ErrorCode, SettingsError
from brokerpool.gateway.certificate import Certificate
from brokerpool.settings import AccountSettings, Settings
from brokerpool.store import checkup
from brokerpool.store.gateway_store import Store
from brokerpool.transport.listening import listen_on, url_host


async def faults(settings: Settings, *, broker: bool = True) -> list[str]:
    """Return one sentence for each part that the gateway would not get; an empty list means all is well.

    Each names the setting at fault. A broker's API key that is empty is left to who read the settings, and so
    is the `broker` as a whole where it is not known which one is meant: its secrets are for no other.
    """
    listeners = {
        "WEBSOCKET_PORT": (settings.websocket_host, settings.websocket_port),
        "BROKERPOOL_HTTP_PORT": (settings.http_host, settings.http_port),
    }
    found = [await _listener(name, host, port) for name, (host, port) in listeners.items()]
    found += [_certificate(settings)]
    if settings.in_cluster:
        found += [await _bus(settings)]
    of_database, stored = await _database(settings)
    found += of_database
    accounts = _accounts(settings)
    for account in accounts if broker else ():
        token = account.broker_access_token.get_secret_value()
        whose = "The stored login" if len(accounts) == 1 else f"The stored login of {account.name}"
        if registry.broker(account.broker).key_is_login:
            whose = account.setting("api_key")
        source = account.setting("access_token") if token else whose
        credentials = Credentials(token) if token else stored.get(account.name, Credentials(""))
        found += await broker_check.faults(account, credentials, source, settings.egress)
    return [fault for fault in found if fault]


def _accounts(settings: Settings) -> Sequence[AccountSettings]:
    """Return the accounts that are to be tried: a gateway of a cluster has none."""
    accounts = settings.accounts()
    return [a for a in accounts if a.broker_api_key.get_secret_value()] if settings.in_cluster else accounts


async def _bus(settings: Settings) -> str | None:
    from brokerpool.cluster.nats_bus import NatsBus  # needs the extra

    try:
        bus = NatsBus(settings, "brokerpool check")
        await bus.open()
    except BrokerpoolError as error:
        return str(error) if isinstance(error, SettingsError) else f"BROKERPOOL_NATS_URL: {error}"
    await bus.close()
    return None


async def _listener(name: str, host: str, port: int) -> str | None:
    try:
        for sock in await listen_on(host, port):
            sock.close()
    except OSError as error:
        return (
            f"{name}: cannot listen on {url_host(host)}:{port}: {error.strerror}. End the program that has"
            " it, or choose another port."
        )
    return None


def _certificate(settings: Settings) -> str | None:
    try:
        Certificate.of(settings.tls_cert_file, settings.tls_key_file)
    except SettingsError as error:
        return str(error)
    return None


async def _database(settings: Settings) -> tuple[list[str], dict[str, Credentials]]:
    """Return what keeps the secrets from being complete, and the stored logins of accounts that need one."""
    key = settings.api_key.get_secret_value()
    tokenless = [a for a in _accounts(settings) if not a.broker_access_token.get_secret_value()]
    needy = [account for account in tokenless if not registry.broker(account.broker).key_is_login]
    no_key, no_login = _missing(settings, needy)
    missing = [] if key else [no_key]
    if (not needy and key) or not checkup.made(settings):
        return [*missing, *no_login.values(), *await checkup.away(settings)], {}
    found = await checkup.faults(settings)
    if found:  # what it holds is not known
        return [*missing, *no_login.values(), *(f"DATABASE_URL: {fault}" for fault in found)], {}
    stored: dict[str, Credentials] = {}
    async with Store.of(settings) as store:  # up to date, so that nothing is changed
        missing = missing if not store.keys else []
        for name, absent in no_login.items():
            try:
                stored[name] = await store.login(name)
            except BrokerpoolError as error:
                missing.append(absent if error.code is ErrorCode.NO_CREDENTIALS else str(error))
    return missing, stored


def _missing(settings: Settings, needy: Sequence[AccountSettings]) -> tuple[str, dict[str, str]]:
    """Return what to say where there is no API key, and of each account where there is no login of it."""
    where = f"the database of DATABASE_URL, {shown(settings.database_url.get_secret_value())}"
    if not checkup.made(settings):
        where += ", which has not been made yet"
    several = len(settings.accounts()) > 1
    return (
        f"BROKERPOOL_API_KEY is not set, and no valid key is in {where}: make one up and set it (openssl rand"
        " -hex 16), or make one with `brokerpool keys create NAME`.",
        {
            account.name: f"{account.setting('access_token')} is not set, and no login is in {where}: run"
            f" `brokerpool login{f' {account.name}' if several else ''}`."
            for account in needy
        },
    )
