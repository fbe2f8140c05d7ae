"""OpenAlgo's own SDK takes the simulated OpenAlgo for the real one: ticks, quotes, orders, order updates."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from brokerpool.simulator import OpenAlgoSimulator
from tests.sdk.openalgo_results import (
    check_books,
    check_order_calls,
    check_order_updates,
    check_ticks,
    check_wrong_key,
)

PROGRAM = Path(__file__).with_name("openalgo_server_program.py")


async def what_the_sdk_saw() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return that, and what the server accepted."""
    async with OpenAlgoSimulator(symbols=5, rate=0, variety="plain") as server:
        urls = server.ws_url, server.http_url, server.control_url
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROGRAM), *urls, server.api_key),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await program.communicate()
        assert program.returncode == 0, err.decode()
        return json.loads(out.splitlines()[-1]), server.orders.report()


@pytest.fixture(scope="module")
def seen() -> tuple[dict[str, Any], dict[str, Any]]:
    return asyncio.run(what_the_sdk_saw())


def test_it_connects_and_each_mode_ticks_with_what_the_sdk_reads(seen: Any) -> None:
    sdk, _ = seen
    check_ticks(sdk)


def test_every_order_call_is_answered_as_the_sdk_wants_it(seen: Any) -> None:
    sdk, accepted = seen
    check_order_calls(sdk)
    check_books(sdk)
    assert sdk["orderbook"]["data"]["statistics"]["total_completed_orders"] == 2
    check_wrong_key(sdk)
    assert accepted["by_tag"] == {"sdk": 4}


def test_order_updates_come_in_their_order(seen: Any) -> None:
    sdk, _ = seen
    check_order_updates(sdk)
