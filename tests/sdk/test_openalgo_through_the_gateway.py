"""A strategy with OpenAlgo's own SDK, unchanged, has the gateway as its only address."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.sdk.openalgo_results import (
    check_books,
    check_order_calls,
    check_order_updates,
    check_ticks,
    check_wrong_key,
)

PROGRAM = Path(__file__).with_name("openalgo_server_program.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the SDK saw of the gateway, and what OpenAlgo accepted; each is a process of its own."""
    folder = tmp_path_factory.mktemp("through")
    passed = {"BROKERPOOL_ORDERS_ACCOUNT": "openalgo", "BROKERPOOL_API_KEY_ORDERS": "yes"}
    with (
        processes.simulator(folder, broker="openalgo", symbols=5, rate=0) as server,
        processes.gateway(folder, **passed) as gateway,
    ):
        control = server.said["control_url"]
        urls = gateway.said["ws_url"], gateway.said["http_url"], control
        done = subprocess.run(
            [sys.executable, str(PROGRAM), *urls, processes.api_key(folder)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        upstream = {"orders": processes.get(f"{control}/orders"), "stats": processes.get(f"{control}/stats")}
        return json.loads(done.stdout.splitlines()[-1]), upstream


def test_each_mode_ticks_with_the_members_that_the_sdk_reads(seen: Any) -> None:
    sdk, upstream = seen
    check_ticks(sdk)
    book = sdk["ticks"]["depth"]["data"]["depth"]
    assert len(book["buy"]) == len(book["sell"]) == 5
    assert upstream["stats"]["peak_sockets"] == 1, "order updates and ticks share one connection"


def test_every_call_of_an_order_reaches_openalgo_once_and_its_answer_the_sdk(seen: Any) -> None:
    sdk, upstream = seen
    check_order_calls(sdk)
    assert upstream["orders"]["by_tag"] == {"sdk": 4}


def test_books_funds_and_quotes_are_openalgos(seen: Any) -> None:
    sdk, _ = seen
    check_books(sdk)


def test_a_wrong_key_is_refused_at_the_gateway_on_both_ports(seen: Any) -> None:
    sdk, upstream = seen
    check_wrong_key(sdk)
    assert upstream["stats"]["violations"] == {"tokens": 0, "sockets": 0}


def test_order_updates_come_in_their_order(seen: Any) -> None:
    sdk, _ = seen
    check_order_updates(sdk)
