"""Run examples of the documentation, as they stand, against a simulator of their own.

The examples' files are the arguments; each is the main program in its turn. What is substituted is this and
no more: the addresses that Zerodha has by default, and `https://api.kite.trade` where an example writes it,
are the simulator's, which takes the credentials that the pages write: "api key" and "access token". It has no
rate limits: a client keeps the broker's, and examples that follow one another are programs of different days.
"""

from __future__ import annotations

import asyncio
import io
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import brokerpool
from brokerpool.brokers.zerodha import instruments
from brokerpool.simulator.zerodha.broker import KiteSimulator
from brokerpool.sync import instruments as blocking

KITE = "https://api.kite.trade"


def simulator() -> KiteSimulator:
    """Return a simulator that serves in a thread until the process ends."""
    broker = KiteSimulator(symbols=50, rate=20, api_key="api key", access_token="access token", http_rates={})
    started = threading.Event()

    async def serve() -> None:
        async with broker:
            started.set()
            await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    if not started.wait(20):
        raise TimeoutError("the simulator did not start")
    return broker


def main(examples: Sequence[Path]) -> None:
    """Run each of them as the main program, and end with the first that raises."""
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)  # who reads it ends what would print for ever
    # What runs in the background of a shell has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    broker = simulator()
    assert brokerpool.ZerodhaFeed.__init__.__kwdefaults__
    brokerpool.ZerodhaFeed.__init__.__kwdefaults__.update(ws_url=broker.ws_url, http_url=broker.http_url)
    instruments.fetch_instruments.__defaults__ = (broker.http_url,)
    blocking.fetch_instruments.__defaults__ = (broker.http_url,)
    for example in examples:
        code = example.read_text("utf-8").replace(KITE, broker.http_url)
        module = sys.modules["__main__"] = ModuleType("__main__")
        module.__file__ = str(example)
        exec(compile(code, str(example), "exec"), module.__dict__)
        if (app := module.__dict__.get("app")) is not None:
            asyncio.run(_asked(app))


async def _asked(app: object) -> None:
    """Ask an application what its page tells: within its lifespan, as a server does."""
    from typing import Any, cast

    served = cast("Any", app)
    async with served.router.lifespan_context(served):
        for path in ("/stats", "/last/NSE:INFY", "/last/INFY"):
            for _ in range(100):
                sent: list[Any] = []

                async def send(message: object, sent: list[Any] = sent) -> None:
                    sent.append(message)

                async def receive() -> dict[str, object]:
                    return {"type": "http.request", "body": b"", "more_body": False}

                asked = {"type": "http", "method": "GET", "path": path}
                await served({**asked, "query_string": b"", "headers": []}, receive, send)
                if sent[0]["status"] != 404:  # no tick yet
                    break
                await asyncio.sleep(0.1)
            print(path, sent[0]["status"], sent[1]["body"][:60].decode())


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
