"""`brokerpool simulate`: one simulated broker until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import logging
import os
import secrets
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from brokerpool import process_signals as signals
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.fault_proxy.toxics import DOWN, parse_all
from brokerpool.simulator.registry import front

logger = logging.getLogger("brokerpool.simulator")


async def simulate(
    *,
    broker: str,
    port: int = 0,
    symbols: int = 100,
    rate: float = 100.0,
    seed: int = 0,
    replay: Path | None = None,
    write_env: Path | None = None,
    write_config: Path | None = None,
    faults: Sequence[str] = (),
    redirect_url: str | None = None,
) -> None:
    """Run a simulated broker until SIGINT or SIGTERM.

    Prints one line of JSON with the addresses and credentials to stdout once it accepts clients; with
    `write_env` also writes the settings that point `brokerpool serve` at it, and with `write_config` adds an
    account to a TOML file. With `faults`, each a toxic in words, or `none` or `down`, its WebSocket clients
    come through a fault proxy. Its login page leads to `redirect_url`. Cancelled, it closes everything, as
    with a signal. Raises ValueError for a broker, a count, a rate, a tape, a fault or a TOML file that it
    cannot use, OSError for a file or a port that is not allowed, and BrokerpoolError for a taken port.
    """
    simulated = front(broker)
    toxics = parse_all(faults) if faults else None
    stopped = asyncio.Event()
    with signals.handled(dict.fromkeys(signals.STOP, stopped.set)):
        simulator = simulated(
            port=port,
            symbols=symbols,
            rate=rate,
            seed=seed,
            replay=replay,
            toxics=toxics,
            redirect_url=redirect_url,
        )
        try:
            await simulator.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            message = f"the simulator cannot listen on port {port}."
            raise BrokerpoolError(message, code=ErrorCode.ADDRESS_IN_USE) from None
        try:
            if simulator.proxy is not None and DOWN in faults:
                await simulator.proxy.down()
            if write_env is not None:
                write_settings(write_env, simulator)
            if write_config is not None:
                write_account(write_config, simulator)
            announce(simulator)
            logger.info("simulating %s: %d instruments", broker, len(simulator.listings))
            await stopped.wait()
        finally:
            await simulator.close()


def announce(simulator: SimulatedBroker) -> None:
    """Print where the simulator listens and how to log in: scripts wait for this line."""
    line = {
        "broker": simulator.name,
        "ws_url": simulator.ws_url,
        "http_url": simulator.http_url,
        "control_url": simulator.control_url,
        **simulator.credentials(),
    }
    if (page := simulator.login_page()) is not None:
        line["login_url"] = page
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def write_settings(path: Path, simulator: SimulatedBroker) -> None:
    """Write the settings that make the gateway use the simulator, readable by the owner only."""
    settings = {
        "BROKERPOOL_BROKER": simulator.name,
        **{f"BROKERPOOL_BROKER_{name.upper()}": value for name, value in simulator.credentials().items()},
        "BROKERPOOL_BROKER_WS_URL": simulator.ws_url,
        "BROKERPOOL_BROKER_HTTP_URL": simulator.http_url,
        "BROKERPOOL_MARKET_HOURS": "always",
        "BROKERPOOL_API_KEY": secrets.token_hex(16),
    }
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    _write(path, text, os.O_TRUNC)


def write_account(path: Path, simulator: SimulatedBroker) -> None:
    """Add the simulator as an account to a TOML file, readable by the owner only; a new one can be served.

    An account of this broker that is there already leaves it a name with a number: one simulator after the
    other makes a gateway of several accounts. Raises ValueError for a file that is no TOML.
    """
    text = path.read_text("utf-8") if path.exists() else ""
    known = {table.get("name") for table in tomllib.loads(text).get("accounts", ())}
    numbered = (f"{simulator.name}-{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain([simulator.name], numbered) if name not in known)
    account = {
        "name": name,
        "broker": simulator.name,
        **simulator.credentials(),
        "ws_url": simulator.ws_url,
        "http_url": simulator.http_url,
    }
    shared = {"BROKERPOOL_MARKET_HOURS": "always", "BROKERPOOL_API_KEY": secrets.token_hex(16)}
    lines = [] if text else [f"{member} = {json.dumps(value)}\n" for member, value in shared.items()]
    lines += ["\n[[accounts]]\n", *(f"{member} = {json.dumps(value)}\n" for member, value in account.items())]
    _write(path, "".join(lines), os.O_APPEND)


def _write(path: Path, text: str, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if hasattr(os, "fchmod"):  # not on Windows, where the folder says who may read
            # The mode above is for a new file; an old one may be open to others.
            os.fchmod(descriptor, 0o600)
        file.write(text)
