"""Behind a pooler of transactions each transaction has another session, and every answer is still right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from brokerpool import DatabasePool, DatabaseUnavailableError, ErrorCode
from brokerpool.store.gateway_store import Store
from tests.database import PASSWORD, PostgresServer
from tests.pgbouncer import needs_pgbouncer, pgbouncer
from tests.rehearsal import until

SUM = "SELECT CAST(:x AS int) + {}"
PREPARED = text("SELECT count(*) FROM pg_prepared_statements")


@pytest.fixture
def pooled(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database behind PgBouncer."""
    with pgbouncer(postgres, postgres.fresh_database().rpartition("/")[2]) as url:
        yield url


@needs_pgbouncer
def test_each_statement_gets_its_own_answer(pooled: str) -> None:
    async def main() -> None:
        async with DatabasePool(pooled, pool_size=5, max_overflow=5) as pool:

            async def worker(number: int) -> None:
                statement = text(SUM.format(1000 * number))
                for n in range(20):
                    async with pool.begin() as connection:
                        assert await connection.scalar(statement, {"x": n}) == 1000 * number + n
                        assert await connection.scalar(text("SELECT CAST(:a AS text)"), {"a": "b"}) == "b"
                        await asyncio.sleep(0)

            await asyncio.gather(*(worker(number) for number in range(8)))

    asyncio.run(main())


@needs_pgbouncer
def test_a_cancelled_caller_leaves_the_shared_sessions_usable(pooled: str) -> None:
    async def main() -> None:
        async with DatabasePool(pooled, pool_size=3, max_overflow=0) as pool:
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with pool.begin() as connection, asyncio.timeout(0.05):
                        await connection.execute(text("SELECT pg_sleep(20)"))
            async with pool.begin() as connection:
                assert await connection.scalar(text(SUM.format(1)), {"x": 1}) == 2

    asyncio.run(main())


@needs_pgbouncer
def test_several_stores_upgrade_one_database_and_share_it(pooled: str) -> None:
    async def main() -> None:
        stores = [Store(DatabasePool(pooled, pool_size=2)) for _ in range(3)]
        await asyncio.gather(*(store.open() for store in stores))
        try:
            names = [f"k{number}" for number in range(8)]
            await asyncio.gather(*(stores[number % 3].create_key(name) for number, name in enumerate(names)))
            assert {key.name for key in await stores[0].list_keys()} == set(names)
            for store in stores:
                for number in range(200):
                    store.note_call("GET /quote", status=200, seconds=0.1, attempts=number)
            await until(lambda: all(store.stats()["writer"]["written"] >= 200 for store in stores))
            assert len(await stores[0].history("http_calls")) == 600
            assert not any(store.stats()["writer"]["failures"] for store in stores)
        finally:
            await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(main())


@needs_pgbouncer
def test_session_settings_that_the_pooler_refuses_are_told_with_what_to_do(pooled: str) -> None:
    async def main() -> None:
        pool = DatabasePool(f"{pooled}?options=-csearch_path%3Dtrading")
        with pytest.raises(DatabaseUnavailableError, match="ALTER ROLE") as caught:
            await pool.open()
        assert caught.value.code is ErrorCode.DB_POOLER_REFUSES
        assert PASSWORD not in str(caught.value)
        await pool.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "names"), [("", 0), ("?prepare_threshold=0", 0), ("?prepare_threshold=1", 1)]
)
def test_statements_are_prepared_only_where_the_url_says_so(
    postgres: PostgresServer, given: str, names: int
) -> None:
    async def main() -> None:
        async with DatabasePool(f"{postgres.fresh_database()}{given}") as pool, pool.begin() as connection:
            for number in range(12):
                await connection.execute(text(SUM.format(1)), {"x": number})
            assert await connection.scalar(PREPARED) == names

    asyncio.run(main())


def test_a_threshold_that_is_no_number_is_refused_without_the_url() -> None:
    with pytest.raises(ValueError, match="prepare_threshold") as caught:
        DatabasePool(f"postgresql://trader:{PASSWORD}@127.0.0.1/x?prepare_threshold=many")
    assert PASSWORD not in str(caught.value)
