"""Brokerpools one behind the other, each a process of its own that can be killed and started again."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dotenv import dotenv_values

from tests import processes


class Hop:
    """One of them; it keeps its ports for all its lives."""

    def __init__(self, folder: Path, number: int, upstream: dict[str, str]) -> None:
        """`upstream` has the settings that name what it is in front of."""
        self.folder = folder / f"hop-{number}"
        self.folder.mkdir()
        self.key = f"the-key-of-hop-{number}"
        ws, http = _free_port(), _free_port()
        self.ws_url, self.http_url = f"ws://127.0.0.1:{ws}", f"http://127.0.0.1:{http}"
        ours = {"BROKERPOOL_API_KEY": self.key, "WEBSOCKET_PORT": ws, "BROKERPOOL_HTTP_PORT": http}
        always = {"BROKERPOOL_MARKET_HOURS": "always"}
        lines = [f"{name}={value}\n" for name, value in {**upstream, **always, **ours}.items()]
        (self.folder / ".env").write_text("".join(lines))
        self._life = ExitStack()
        self._running: processes.Running

    def start(self) -> None:
        """Start it, and return once it lets clients in."""
        command = processes.command("serve", "--env-file", str(self.folder / ".env"), folder=self.folder)
        self._running = self._life.enter_context(command)

    def kill(self) -> None:
        """End it as a machine that loses its power does."""
        self._running.process.kill()
        self._running.process.wait(10)
        self._life.close()

    def stop(self) -> None:
        with contextlib.suppress(AttributeError):
            self._life.close()

    @property
    def as_upstream(self) -> dict[str, str]:
        """The settings of a brokerpool in front of this one."""
        return {
            "BROKERPOOL_BROKER": "openalgo",
            "BROKERPOOL_BROKER_API_KEY": self.key,
            "BROKERPOOL_BROKER_WS_URL": self.ws_url,
            "BROKERPOOL_BROKER_HTTP_URL": self.http_url,
        }


@contextmanager
def chain(folder: Path, hops: int) -> Iterator[list[Hop]]:
    """Run so many, the first one in front of the simulator that was started in the folder."""
    made: list[Hop] = []
    upstream = {
        n: v for n, v in dotenv_values(folder / "sim.env").items() if v and n.startswith("BROKERPOOL_BROKER")
    }
    try:
        for number in range(1, hops + 1):
            hop = Hop(folder, number, upstream)
            made.append(hop)
            hop.start()
            upstream = hop.as_upstream
        yield made
    finally:
        for hop in reversed(made):
            hop.stop()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
