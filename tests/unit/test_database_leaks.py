"""Who keeps a connection is named: with its file and line, and in time."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from brokerpool import DatabasePool
from tests.rehearsal import no_task_dies, until

ONE = text("SELECT 1")
HERE = Path(__file__)


def line_of(marker: str) -> str:
    """Return file and line of the code that a comment marks."""
    lines = HERE.read_text("utf-8").splitlines()
    return f"{HERE}:{next(i for i, code in enumerate(lines, 1) if code.endswith('# ' + marker))}"


def warned(caplog: pytest.LogCaptureFixture, marker: str) -> list[str]:
    """Return the warnings about the code that a comment marks; opening a pool may be told as well."""
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [message for message in messages if line_of(marker) in message]


def test_who_holds_a_connection_for_long_is_named_once_within_the_threshold(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with no_task_dies(), DatabasePool(database_url, name="books", long_hold=0.2) as pool:
            done, loop = asyncio.Event(), asyncio.get_running_loop()
            before_it = pool.stats()[
                "long_holds"
            ]  # what opening the first connection took, where all is slow

            async def keeper() -> None:
                async with pool.connection():  # the keeper
                    await done.wait()

            before = loop.time()
            keeping = asyncio.create_task(keeper(), name="keeper")
            await until(lambda: pool.stats()["long_holds"] > before_it)
            noticed = loop.time() - before
            assert 0.2 <= noticed < 5
            holder = pool.stats()["holders"][0]
            assert (holder["task"], holder["site"]) == ("keeper", line_of("the keeper"))
            assert 0.2 <= holder["seconds"] < 5
            done.set()
            await keeping
            assert pool.stats()["long_holds"] == before_it + 1
            assert pool.stats()["leaks"] == 0

    asyncio.run(main())
    [said] = warned(caplog, "the keeper")
    assert said.startswith(f"books: {line_of('the keeper')} by keeper holds a connection for ")


def test_a_task_that_ended_without_returning_its_connection_is_named(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with DatabasePool(database_url, name="books", long_hold=0.2) as pool:
            kept: list[Any] = []

            async def forgetful() -> None:
                loan = pool.connection()  # the forgetful
                kept.extend((loan, await loan.__aenter__()))

            await asyncio.create_task(forgetful(), name="forgetful")
            await until(lambda: pool.stats()["leaks"])
            assert pool.stats()["checked_out"] == 1
            await kept[0].__aexit__(None, None, None)
            assert pool.stats()["checked_out"] == 0

    asyncio.run(main())
    [said] = warned(caplog, "the forgetful")
    assert f"leak of the connection of {line_of('the forgetful')} by forgetful: its task has ended" in said


def test_a_connection_that_nobody_refers_to_any_more_is_named_and_taken_back(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with (
            no_task_dies(),
            DatabasePool(database_url, name="books", pool_size=1, max_overflow=0) as pool,
        ):
            connection = await pool.connection().__aenter__()  # dropped
            await connection.execute(ONE)
            del connection
            gc.collect()
            async with pool.connection() as connection:
                assert (await connection.execute(ONE)).scalar() == 1
            stats = pool.stats()
            assert (stats["leaks"], stats["checked_out"], stats["connects"], stats["open"]) == (1, 0, 1, 1)

    asyncio.run(main())
    [said] = warned(caplog, "dropped")
    assert f"leak of the connection of {line_of('dropped')} by Task-" in said
    assert ": it was dropped" in said


def test_a_connection_in_use_is_not_taken_back_though_its_block_is_not_kept(database_url: str) -> None:
    async def main() -> None:
        async with DatabasePool(database_url) as pool:
            connection = await pool.connection().__aenter__()
            gc.collect()
            assert (await connection.execute(ONE)).scalar() == 1
            assert pool.stats()["leaks"] == 0
            del connection
            gc.collect()
            await until(lambda: pool.stats()["leaks"] == 1 and not pool.stats()["checked_out"])

    asyncio.run(main())
