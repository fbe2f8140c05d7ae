"""A forked child is told at once that the pools are its parent's, and the parent's go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.http_server import AUTHORITY, ScriptedBroker
from tests.unit.test_http_sync import broker as http_broker
from tests.unit.test_sync import broker as feed_broker

__all__ = ["feed_broker", "http_broker"]

FORKED = "POOL_FORKED"


def program(*arguments: str) -> dict[str, Any]:
    """Run the forking program, with warnings as errors, and return what it found."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.unit.forking_program", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "neither the parent nor a child had anything to warn of"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_child_is_told_that_the_database_pool_is_its_parents_and_the_parent_goes_on(
    database_url: str,
) -> None:
    found = program("database", database_url)
    whole = [FORKED, FORKED, FORKED, FORKED, "None", "None"]
    assert found["children"] == [whole, whole, FORKED]
    assert found["counts"] == list(range(1, 21)), "nothing of the child's is in the parent's table"
    assert (found["connects"], found["closes"]) == (2, 0), "the parent kept both its connections"


def test_a_child_of_an_asynchronous_program_is_told_too(database_url: str) -> None:
    found = program("asynchronous", database_url)
    assert found["children"] == [[FORKED, "None"]]
    assert (found["after"], found["connects"]) == (1, 2)


def test_a_child_is_told_that_the_http_client_is_its_parents_and_the_parent_keeps_its_connection(
    http_broker: ScriptedBroker, tmp_path: Path
) -> None:
    found = program("http", http_broker.url, authority(tmp_path))
    assert found["children"] == [[FORKED, FORKED, FORKED, FORKED, "None"]] * 2
    assert found["after"] == [200] * 5
    assert (http_broker.accepted, http_broker.count()) == (1, 6), "one TLS connection, no call of a child's"


@pytest.mark.parametrize(
    ("kind", "children"),
    [("feed", [[FORKED, FORKED, FORKED, "None"]] * 2), ("asynchronous_feed", [[FORKED, "None"]])],
)
def test_a_child_is_told_that_the_feed_is_its_parents_and_the_parent_gets_its_ticks(
    feed_broker: KiteSimulator, kind: str, children: list[list[str]]
) -> None:
    broker = feed_broker
    found = program(kind, broker.ws_url, broker.http_url, broker.api_key, broker.access_token)
    assert found["children"] == children
    assert found["after"] == "INFY"


def test_pools_that_nobody_used_before_the_fork_work_in_every_process(
    http_broker: ScriptedBroker, database_url: str, tmp_path: Path
) -> None:
    found = program("unused", database_url, http_broker.url, authority(tmp_path))
    assert [*found["children"], found["parent"]] == [[1, 200]] * 3


def authority(folder: Path) -> str:
    path = folder / "authority.pem"
    path.write_bytes(AUTHORITY.pem())
    return str(path)
