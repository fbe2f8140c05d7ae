"""A query through the database pool: against SQLAlchemy's own pool, and against a connection for each query.

`python -m benchmarks.database` starts a PostgreSQL server on 127.0.0.1 and ends it, prints one table and
exits 1 when a mark is missed. The programs take turns in one process; figures are ratios of neighbouring
rounds, and the microseconds beside them are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from brokerpool import DatabasePool
from tests.database import postgres_server

#: A checkout with pre-ping, query and return may cost so many times what SQLAlchemy's own pool takes.
MOST = 1.1
#: A connection for each query costs at least so many times what the pool costs.
LEAST = 2.0
QUERY = text("SELECT 1")
TURNS = 40

Program = Callable[[int], Awaitable[None]]


class Row(NamedTuple):
    """One comparison: microseconds for each query of either, and the median of the rounds' ratios."""

    what: str
    pool: float
    other: float
    ratio: float
    met: bool | None


def through_pool(pool: DatabasePool) -> Program:
    async def program(turns: int) -> None:
        for _ in range(turns):
            async with pool.connection() as connection:
                await connection.execute(QUERY)

    return program


def through_engine(engine: AsyncEngine) -> Program:
    async def program(turns: int) -> None:
        for _ in range(turns):
            async with engine.connect() as connection:
                await connection.execute(QUERY)

    return program


async def compare(ours: Program, other: Program, rounds: int) -> tuple[float, float, list[float]]:
    """Return the median microseconds of both, and ours divided by the other's for each round."""
    seconds: dict[Program, list[float]] = {ours: [], other: []}
    for program in (ours, other):
        await program(TURNS)  # connections are open, statements compiled
    for number in range(rounds):
        for program in (ours, other) if number % 2 else (other, ours):
            before = time.perf_counter()
            await program(TURNS)
            seconds[program].append((time.perf_counter() - before) / TURNS * 1e6)
    ratios = [a / b for a, b in zip(seconds[ours], seconds[other], strict=True)]
    return statistics.median(seconds[ours]), statistics.median(seconds[other]), ratios


async def measure(url: str, kind: str, rounds: int) -> list[Row]:
    parsed = make_url(url)
    driver = "postgresql+psycopg" if kind == "PostgreSQL" else "sqlite+aiosqlite"
    bare_url = parsed.set(drivername=driver)
    bare = create_async_engine(bare_url, pool_size=5, max_overflow=10, pool_timeout=30, pool_pre_ping=True)
    each = create_async_engine(bare_url, poolclass=NullPool)
    rows = []
    async with DatabasePool(url) as pool:
        ours, other, ratios = await compare(through_pool(pool), through_engine(bare), rounds)
        ratio = statistics.median(ratios)
        met = ratio <= MOST if kind == "PostgreSQL" else None
        rows.append(Row(f"{kind}: SQLAlchemy's own pool, pre-ping on", ours, other, ratio, met))
        ours, other, ratios = await compare(through_pool(pool), through_engine(each), max(3, rounds // 5))
        ratio = statistics.median(ratios)
        met = 1 / ratio >= LEAST if kind == "PostgreSQL" else None
        rows.append(Row(f"{kind}: a connection for each query", ours, other, ratio, met))
    await bare.dispose()
    await each.dispose()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="turns that each program takes (default 60)")
    rounds = parser.parse_args().rounds
    gc.collect()
    gc.freeze()
    with postgres_server() as server, tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(measure(server.url, "PostgreSQL", rounds))
        rows += asyncio.run(measure(f"sqlite:///{Path(folder) / 'bench.db'}", "SQLite", rounds))
    title = f"Checkout, query, return (marks: at most {MOST:g}x SQLAlchemy, {LEAST:g}x cheaper than dialling)"
    table = Table("against", "the pool, us", "the other, us", "pool / other", "", title=title)
    words = {None: "[dim]not judged[/]", True: "[green]met[/]", False: "[red]missed[/]"}
    for row in rows:
        table.add_row(
            row.what, f"{row.pool:.0f}", f"{row.other:.0f}", f"[bold]{row.ratio:.3f}[/]", words[row.met]
        )
    Console().print(table)
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
