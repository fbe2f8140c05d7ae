"""schemathesis sends what /openapi.json allows and what it does not: no 5xx, no answer unlike its schema."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway_client import KEY, client, gateway, pool_of
from tests.rehearsal import until

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 8


@contextmanager
def serving() -> Iterator[str]:
    """Run a gateway in a thread of its own, with a feed that ticks, and give its HTTP address."""
    address: list[str] = []
    failed: list[BaseException] = []
    ready, loops, done = threading.Event(), [], asyncio.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        # Ten years of candles may take their time on a busy machine.
        limits = {"API_RATE_LIMIT": "900000 per second", "BROKERPOOL_HTTP_TIMEOUT": "60"}
        async with (
            gateway({"symbols": 2, "rate": 50, "http_rates": {}}, **limits) as (_, served_by),
            client(served_by) as session,
        ):
            # The feed answers for the broker, whose one call a second would make this take minutes.
            await session.subscribe("RELIANCE", "INFY", mode=3)
            pool = pool_of(served_by)
            await until(lambda: all(pool.state(i) for i in pool.demand.instruments()))
            address.append(served_by.http_url)
            ready.set()
            await done.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        assert address, failed
        yield address[0]
    finally:
        if loops and not loops[0].is_closed():
            loops[0].call_soon_threadsafe(done.set)
        thread.join(20)
    assert not failed, failed


def made_plausible(case: Any, draw: Any) -> None:
    """Give most requests the right key, and some of them a symbol and days that exist."""
    # Hypothesis begins with the simplest, so each operation is asked for something that exists at least once.
    known = draw(st.integers(0, 3)) == 0
    for place in (case.body, case.query):
        if not isinstance(place, dict):
            continue
        if "apikey" in place and (known or draw(st.booleans())):
            place["apikey"] = KEY
        if known and "symbol" in place:
            place.update(symbol="INFY", exchange="NFO" if "instrumenttype" in place else "NSE")
        if known and "start_date" in place:
            place.update(start_date="2025-04-21", end_date="2025-04-25", interval="D", source="api")
        if known and isinstance(place.get("symbols"), list):
            place["symbols"] = [{"symbol": "INFY", "exchange": "NSE"}, {"symbol": "NOPE", "exchange": "nse"}]
    if known and case.path_parameters and "name" in case.path_parameters:
        case.path_parameters["name"] = "NSE:INFY"


def asked(operation: Any, mode: GenerationMode) -> set[int]:
    """Send requests to one operation, check every answer, and return the statuses that came."""
    seen: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: st.DataObject) -> None:
        made_plausible(case, data.draw)
        response = case.call(timeout=100)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    return seen


# The gateway runs in another thread of this process, and what it is built of draws from the same generator.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_no_request_gets_a_5xx_or_an_answer_that_is_unlike_its_schema() -> None:
    with serving() as url:
        schema: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        statuses = {o.label: asked(o, GenerationMode.POSITIVE) for o in operations}
        for operation in operations:
            if operation.body or operation.query:
                statuses[operation.label] |= asked(operation, GenerationMode.NEGATIVE)
    print(statuses)
    assert len(statuses) == 20
    for label, seen in statuses.items():
        assert 200 in seen, f"{label} answered nothing but {seen}"
