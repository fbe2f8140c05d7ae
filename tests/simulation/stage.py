"""A pool and a scripted broker in virtual time, with the usual checks at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeAlias

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.login import Provider
from brokerpool.testing import scenario
from brokerpool.testing.scripted_feed import ScriptedFeed

#: The figures that the pool keeps to with Kite.
KITE_WINDOWS: dict[str, Any] = {
    "batch_size": 200,
    "control_messages": (RateWindow(10, 0.5),),
    "account_messages": (RateWindow(20, 0.5),),
    "dials": (RateWindow(3, 1.0), RateWindow(30, 60.0)),
}

Stage: TypeAlias = scenario.Stage[ScriptedFeed]


@asynccontextmanager
async def stage(
    seed: int = 1,
    *,
    symbols: int = 30,
    per_connection: int = 10,
    connections: int = 3,
    limits: dict[str, Any] | None = None,
    broker: dict[str, Any] | None = None,
    provider: Provider | None = None,
    greets: bool = False,
    **pool: Any,
) -> AsyncIterator[Stage]:
    """Give a stage; in the end pool and broker close, and nothing may be left or have been exceeded."""
    random = Random(seed)
    feed = ScriptedFeed(
        symbols,
        provider,
        random=random,
        greets=greets,
        **{"symbols_per_connection": per_connection, "max_connections": connections, **(limits or {})},
    )
    given: dict[str, Any] = {"max_symbols": per_connection, "max_connections": connections, **pool}
    async with scenario.stage(feed, feed.dialect, random=random, broker=broker, **given) as scene:
        yield scene
