"""Promises of the writer: it never waits for the database, and one bad entry does not stop the others."""

from __future__ import annotations

import asyncio
import itertools
import logging

import pytest

from brokerpool.store.write_backlog import Backlog, Batch
from brokerpool.store.writer import Writer
from tests.rehearsal import until

DEADLINE = 5.0


class Disk:
    """Takes batches, unless it is away or dislikes what it gets."""

    def __init__(self) -> None:
        self.away = False
        self.hangs = False
        self.rows: list[object] = []

    async def write(self, batch: Batch) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise ConnectionRefusedError("the password is hunter2")
        if self.hangs:
            await asyncio.Event().wait()
        if any(row.values["n"] == "bad" for row in batch.rows):
            raise UnicodeError("the password is hunter2")
        self.rows += [row.values["n"] for row in batch.rows]


def test_one_entry_that_can_never_be_written_is_dropped_and_the_others_are_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        disk = Disk()
        writer = Writer(disk.write)
        for n in (1, "bad", 2):
            writer.add("journal", {"n": n})
        writer.start()
        await until(lambda: writer.stats()["written"] == 2)
        await writer.close()
        assert disk.rows == [1, 2]
        assert writer.stats()["dropped"] == {"journal": 1}

    asyncio.run(main())
    assert "hunter2" not in caplog.text


def test_closing_writes_what_waits() -> None:
    async def main() -> None:
        disk = Disk()
        writer = Writer(disk.write, Backlog(batch=10, interval=60))
        writer.start()
        for n in range(95):
            writer.add("journal", {"n": n})
        await writer.close()
        assert disk.rows == list(range(95))
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["away", "hangs"])
def test_closing_ends_in_time_without_a_database_and_tells_what_was_not_written(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        disk = Disk()
        setattr(disk, fault, True)
        writer = Writer(disk.write)
        writer.start()
        for n in range(3):
            writer.add("journal", {"n": n})
        await asyncio.sleep(0)
        await asyncio.wait_for(writer.close(0.05), DEADLINE)
        assert writer.stats()["queued"] == 0
        assert writer.stats()["dropped"] == {"journal": 3}

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "3 entries for the database were not written" in caplog.text
    assert "hunter2" not in caplog.text


def test_an_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        disk = Disk()
        disk.away = True
        clock = itertools.count(0, 100)  # each look is long after the one before: no real pauses
        writer = Writer(disk.write, clock=lambda: float(next(clock)))
        writer.add("journal", {"n": 1})
        writer.start()
        await until(lambda: writer.stats()["failures"] >= 3)
        disk.away = False
        await until(lambda: disk.rows == [1])
        await writer.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert caplog.text.count("the database takes no entries (DB_UNREACHABLE)") == 1
    assert caplog.text.count("the database takes entries again") == 1
