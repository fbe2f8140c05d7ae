"""The gateway as a process: from its settings to the first client, new logins while it runs, and its end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from brokerpool import garbage_collection
from brokerpool import process_signals as signals
from brokerpool.brokers.login import Credentials
from brokerpool.errors import SettingsError
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.loop_faults import LoopFaults
from brokerpool.gateway.reload import SettingsWatch
from brokerpool.gateway.server import Gateway
from brokerpool.gateway.started_account import StartedAccount, started
from brokerpool.settings import Settings

logger = logging.getLogger("brokerpool.gateway")


async def run(settings: Settings, files: Sequence[Path], read: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; prints one line of JSON once clients are accepted.

    When one of the `files` changes, and on SIGHUP, the settings are read again for a new access token, and
    the certificate and the instrument list with them; a login that is stored meanwhile is used as well.

    An account that has no login or no instrument list waits for it while the others serve. Where all of them
    would wait, raises StoreError (NO_CREDENTIALS) or BrokerError; not for a login that the broker refuses:
    the next one is waited for. Raises SettingsError for a certificate that is none, StoreError for a
    database that is needed and cannot be opened, and BrokerpoolError with ADDRESS_IN_USE or NO_API_KEY.
    """
    certificate = Certificate.of(settings.tls_cert_file, settings.tls_key_file)
    files = [*files, *(certificate.files if certificate is not None else ())]
    serve = _serve_cluster if settings.in_cluster else _serve
    await until_stopped(settings, files, read, lambda watch: serve(settings, watch, certificate))


async def until_stopped(
    settings: Settings,
    files: Sequence[Path],
    read: Callable[[], Settings],
    serve: Callable[[SettingsWatch], Coroutine[Any, Any, None]],
) -> None:
    """Run `serve` until SIGTERM or Ctrl-C cancels it; it is given what notices changes of the files."""
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopFaults(loop.time))
    watch = SettingsWatch(files, read, settings, hangup)
    await signals.until_stopped(serve(watch), hangup)


async def _serve(settings: Settings, watch: SettingsWatch, certificate: Certificate | None) -> None:
    persistence = Persistence(settings)
    gateway: Gateway | None = None
    try:
        await persistence.open()
        accounts = await asyncio.gather(*(started(a, settings, persistence) for a in settings.accounts()))
        check(accounts)
        gateway = compose(
            settings,
            *(account.feed for account in accounts),
            persistence=persistence,
            certificate=certificate,
            unlisted={a.settings.name: a.unlisted for a in accounts if a.unlisted is not None},
        )
        await _ready(gateway)
        await asyncio.gather(
            follow(accounts, watch, gateway.instruments.request, certificate),
            *(account.trial.follow(account.stored.newer()) for account in accounts),
        )
    finally:
        if gateway is not None:
            await _closed(gateway)
        else:
            await persistence.close()


async def _serve_cluster(settings: Settings, watch: SettingsWatch, certificate: Certificate | None) -> None:
    from brokerpool.gateway.cluster_gateway import joined  # needs the extra

    persistence = Persistence(settings)
    gateway: Gateway | None = None
    try:
        await persistence.open()
        async with joined(settings, persistence, certificate) as gateway:
            try:
                await _ready(gateway)
                await follow((), watch, gateway.instruments.request, certificate)
            finally:
                await _closed(gateway)
    finally:
        if gateway is None:
            await persistence.close()


async def _ready(gateway: Gateway) -> None:
    """Have it accept clients, and say so."""
    await gateway.start()
    garbage_collection.started()
    urls = {"ws_url": gateway.ws_url, "http_url": gateway.http_url}
    if gateway.status_url != gateway.http_url:
        urls["status_url"] = gateway.status_url
    print(json.dumps(urls), flush=True)


async def _closed(gateway: Gateway) -> None:
    logger.info("stopping: %d clients are told to come back", gateway.clients)
    await gateway.close()


def check(accounts: Sequence[StartedAccount]) -> None:
    """Tell which accounts wait for what. Raises what the first of them lacks where none can do anything."""
    faults = {account.settings.name: account.fault for account in accounts}
    first = next((fault for fault in faults.values() if fault is not None), None)
    if first is not None and all(faults.values()):
        raise first
    for name, fault in faults.items():
        if fault is not None:
            logger.error("account %s does not serve yet, and is tried again: %s", name, fault)


async def follow(
    accounts: Sequence[StartedAccount],
    watch: SettingsWatch,
    relist: Callable[[], object],
    certificate: Certificate | None = None,
) -> None:
    """Use the access tokens each time the files were read again; certificate and lists go with them."""
    async for tokens in watch.tokens():
        relist()
        if certificate is not None:
            try:
                # Off the loop: a disk that hangs must not hold up the ticks.
                await asyncio.to_thread(certificate.reload)
            except SettingsError as error:
                logger.error("the old certificate stays in use: %s", error)
        given = ((a.trial, tokens[a.settings.name]) for a in accounts if a.settings.name in tokens)
        await asyncio.gather(*(trial.use(Credentials(token)) for trial, token in given))
