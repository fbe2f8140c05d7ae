"""The blocking database pool, from plain threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from brokerpool import DatabaseUnavailableError, PoolClosedError
from brokerpool.sync import DatabasePool

COUNT = text("SELECT count(*) FROM trades")
INSERT = text("INSERT INTO trades (n) VALUES (:n)")


def test_threads_share_the_pool_and_are_named_in_it(database_url: str) -> None:
    with DatabasePool(database_url, pool_size=2, max_overflow=0, pool_timeout=5) as pool:
        with pool.begin() as connection:
            connection.execute(text("CREATE TABLE trades (n integer)"))

        def write(number: int) -> None:
            with pool.begin() as connection:
                connection.execute(INSERT, {"n": number})

        threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        with pool.connection() as connection:
            assert connection.scalar(COUNT) == 20
            connection.execute(INSERT, {"n": 21})
            [holder] = pool.stats()["holders"]
            assert holder["task"] == threading.current_thread().name
            assert holder["site"].startswith(f"{__file__}:")
        with pool.connection() as connection:
            assert sorted(connection.scalars(text("SELECT n FROM trades")).all()) == list(range(20))
        with pytest.raises(ZeroDivisionError), pool.begin() as connection:
            connection.execute(INSERT, {"n": 1 // 0})
        assert pool.stats()["checked_out"] == 0
        assert pool.stats()["leaks"] == 0
    with pytest.raises(PoolClosedError), pool.connection():
        pass


def test_a_thread_is_told_when_it_waited_in_vain(database_url: str) -> None:
    with DatabasePool(database_url, pool_size=1, max_overflow=0, pool_timeout=2) as pool, pool.connection():
        before = time.perf_counter()
        with pytest.raises(DatabaseUnavailableError, match="1 of 1 connections"), pool.connection():
            pass
        assert time.perf_counter() - before < 10


def test_a_pool_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(DatabaseUnavailableError), DatabasePool(f"sqlite:///{tmp_path}/none/here.db"):
        pass
    assert threading.active_count() == before
