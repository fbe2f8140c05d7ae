"""`brokerpool serve --workers N`: a feed node and N gateways on the same ports, kept alive together."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brokerpool import process_signals as signals
from brokerpool.cluster.nats_server import NatsServer
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.settings import Settings
from brokerpool.transport.listening import url_host

logger = logging.getLogger("brokerpool.workers")

#: What a process may take until it serves; a feed node reads the instrument list meanwhile.
START_SECONDS = 60.0
#: What it may take to end before it is killed.
STOP_SECONDS = 15.0
#: Between the end of a process and the start of the next one in its place: doubled up to the second.
_REST_SECONDS = (1.0, 30.0)
_PR_SET_PDEATHSIG = 1


class Worker:
    """One process in its place: started again whenever it ends, until it is stopped."""

    def __init__(self, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self._arguments = (sys.executable, "-m", "brokerpool", *arguments)
        self._env = dict(env)
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Return what it says once it serves, and keep it alive from then on.

        Raises BrokerpoolError (WORKER_FAILED) where it ends before, or says nothing within START_SECONDS.
        """
        said = await self._started()
        self._keeping = asyncio.create_task(self._keep(), name=f"brokerpool worker {self.name}")
        return said

    def send(self, number: int) -> None:
        """Send a signal to the process of this moment, if there is one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self) -> None:
        """Have it drain and end; takes STOP_SECONDS at most."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            logger.warning("%s has not ended within %g s and is killed", self.name, STOP_SECONDS)
            process.kill()
            await process.wait()

    async def _started(self) -> dict[str, Any]:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=self._env,
            # Ctrl-C reaches this process alone, which then stops the others in order.
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            line = b""
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if not line:
            if process.returncode is None:
                process.kill()
            text = f"The process {self.name} has ended with {await process.wait()} before it served."
            raise BrokerpoolError(text, code=ErrorCode.WORKER_FAILED)
        told: dict[str, Any] = json.loads(line)
        return told

    async def _keep(self) -> None:
        rest, longest = _REST_SECONDS
        while True:
            assert self._process is not None
            code = await self._process.wait()
            logger.error("%s ended with %d; it is started again in %g s", self.name, code, rest)
            await asyncio.sleep(rest)
            rest = min(longest, 2 * rest)
            try:
                await self._started()
            except BrokerpoolError as error:
                logger.error("%s", error)
            else:
                logger.info("%s serves again", self.name)
                rest = _REST_SECONDS[0]


async def run(settings: Settings, workers: int, arguments: Sequence[str]) -> None:
    """Serve with so many gateways until SIGTERM or Ctrl-C; prints one line of JSON once all accept clients.

    `arguments` say where the processes find their settings. A NATS server is started where the settings have
    none. Raises BusError where it cannot be, and BrokerpoolError (ADDRESS_IN_USE, WORKER_FAILED).
    """
    hangup = asyncio.Event()
    await signals.until_stopped(_serve(settings, workers, arguments, hangup), hangup)


async def _serve(settings: Settings, workers: int, arguments: Sequence[str], hangup: asyncio.Event) -> None:
    feeds: list[Worker] = []
    gateways: list[Worker] = []
    with contextlib.ExitStack() as until_end:
        env = {**os.environ, "BROKERPOOL_SHARE_PORTS": "yes"}
        env.pop("BROKERPOOL_NODE", None)  # each has a name of its own
        if not settings.in_cluster:
            folder = until_end.enter_context(TemporaryDirectory(prefix="brokerpool-nats-"))
            server = NatsServer(Path(folder))
            await asyncio.to_thread(server.start)
            until_end.callback(server.stop)
            env["BROKERPOOL_NATS_URL"] = server.url
        for setting, host, port in (
            ("WEBSOCKET_PORT", settings.websocket_host, settings.websocket_port),
            ("BROKERPOOL_HTTP_PORT", settings.http_host, settings.http_port),
        ):
            reserved = until_end.enter_context(_reserved(setting, host, port))
            env[setting] = str(reserved.getsockname()[1])
        try:
            said = {}
            if any(account.broker_api_key.get_secret_value() for account in settings.accounts()):
                feed = Worker("feed", ("feed", *arguments), _at(env, settings, 0))
                feeds.append(feed)
                # Before the others, whose database it brings up to date.
                said["feed"] = (await feed.start())["status_url"]
            gateways += (
                Worker(f"gateway {n}", ("serve", *arguments), _at(env, settings, n))
                for n in range(1, workers + 1)
            )
            told = await asyncio.gather(*(gateway.start() for gateway in gateways))
            urls = {name: told[0][name] for name in ("ws_url", "http_url")}
            each = [one["status_url"] for one in told]
            print(json.dumps({**urls, "status_urls": each, **said}), flush=True)
            while True:
                await hangup.wait()
                hangup.clear()
                for worker in (*feeds, *gateways):
                    worker.send(signal.SIGHUP)
        finally:
            for part in (gateways, feeds):  # clients first, while there are ticks still
                await asyncio.gather(*(worker.stop() for worker in part))


def _at(env: Mapping[str, str], settings: Settings, place: int) -> dict[str, str]:
    """Return the environment of the process in this place, which has a port of its own for its operator."""
    port = settings.status_port + place if settings.status_port else 0
    return {**env, "BROKERPOOL_STATUS_PORT": str(port)}


@contextlib.contextmanager
def _reserved(setting: str, host: str, port: int) -> Any:  # noqa: ANN401  (a socket, for a block)
    """Keep the port for our own processes, and give a socket that is bound to it and does not listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((host, port))
        except OSError:
            text = f"{setting}: {url_host(host)}:{port} is taken."
            raise BrokerpoolError(text, code=ErrorCode.ADDRESS_IN_USE) from None
        yield held


def _end_with_parent() -> None:
    """Have the system end this process with the one that started it, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
