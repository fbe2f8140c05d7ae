"""The gateway as a process: from its settings to the first client, new logins while it runs, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from brokerpool import signals
from brokerpool.brokers import registry
from brokerpool.brokers.login import Credentials
from brokerpool.errors import SettingsError
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.broker_login_trial import TRIAL_SECONDS, LoginTrial
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.loop_faults import LoopFaults
from brokerpool.gateway.persistence import Persistence
from brokerpool.gateway.reload import SettingsWatch
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings

logger = logging.getLogger("brokerpool.gateway")


async def run(settings: Settings, files: Sequence[Path], read: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or Ctrl-C, then drain; prints one line of JSON once clients are accepted.

    When one of the `files` changes, and on SIGHUP, the settings are read again for a new access token, and
    the certificate and the instrument list with them; a login that is stored meanwhile is used as well.

    Raises BrokerError when the instrument list cannot be had, SettingsError for a certificate that is
    none, StoreError for a database that is needed and cannot be opened, and BrokerpoolError with
    ADDRESS_IN_USE or NO_API_KEY.
    """
    certificate = Certificate.of(settings.tls_cert_file, settings.tls_key_file)
    files = [*files, *(certificate.files if certificate is not None else ())]
    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopFaults(loop.time))
    watch = SettingsWatch(files, read, settings, hangup)
    with signals.handled(dict.fromkeys(signals.STOP, stop.set) | {signals.HANGUP: hangup.set}):
        serving = asyncio.create_task(_serve(settings, watch, certificate))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _serve(settings: Settings, watch: SettingsWatch, certificate: Certificate | None) -> None:
    persistence = Persistence(settings)
    gateway: Gateway | None = None
    try:
        await persistence.open()
        credentials = await persistence.first_credentials()
        broker = registry.broker(settings.broker)
        access = settings.access(credentials, provider=persistence.provider, egress=settings.egress)
        feed = broker.account(access)
        of_settings = settings.broker_access_token.get_secret_value()
        trial = LoginTrial(broker.session(access, timeout=TRIAL_SECONDS), feed.login, of_settings)
        book, _ = await asyncio.gather(feed.instruments(), trial.run())
        feed.relist(book)
        gateway = compose(settings, feed, persistence, certificate)
        await gateway.start()
        # The instrument list lives as long as the process: no collection need look at it again.
        gc.collect()
        gc.freeze()
        print(json.dumps({"ws_url": gateway.ws_url, "http_url": gateway.http_url}), flush=True)
        await asyncio.gather(
            trial.follow(_given(gateway, watch, certificate)),
            trial.follow(persistence.logins()),
        )
    finally:
        if gateway is not None:
            logger.info("stopping: %d clients are told to come back", gateway.clients)
            await gateway.close()
        else:
            await persistence.close()


async def _given(
    gateway: Gateway, watch: SettingsWatch, certificate: Certificate | None
) -> AsyncIterator[Credentials]:
    """Yield the access token each time the files were read again; certificate and list go with it."""
    async for token in watch.tokens():
        gateway.instruments.request()
        if certificate is not None:
            try:
                # Off the loop: a disk that hangs must not hold up the ticks.
                await asyncio.to_thread(certificate.reload)
            except SettingsError as error:
                logger.error("the old certificate stays in use: %s", error)
        if token:
            yield Credentials(token)
