"""The log: both forms carry the connection's name, JSON is one object a line, and no secret is told."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from brokerpool.monitor.logs import FIELDS, JsonFormatter, TextFormatter
from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until


def record(text: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("brokerpool.feed").makeRecord(
        "brokerpool.feed", logging.INFO, "f", 1, text, (), None, extra=extra
    )


def test_a_line_for_people_ends_in_the_fields() -> None:
    line = TextFormatter().format(record("zerodha-1 is live", connection="zerodha-1", state="live"))
    assert line.endswith("INFO    brokerpool.feed: zerodha-1 is live connection=zerodha-1 state=live")


def test_a_json_line_is_one_object_whatever_the_text_holds() -> None:
    line = JsonFormatter().format(record('two\nlines and a "quote" of ₹ 5', connection="zerodha-1"))
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == 'two\nlines and a "quote" of ₹ 5'
    assert (told["level"], told["logger"], told["connection"]) == ("INFO", "brokerpool.feed", "zerodha-1")
    assert told["time"].endswith("+00:00")


def test_a_traceback_stays_inside_its_object() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        entry = record("failed")
        entry.exc_info = sys.exc_info()
        told = json.loads(JsonFormatter().format(entry))
    assert "ValueError: no" in told["traceback"]


def test_only_fields_of_ours_are_told() -> None:
    line = JsonFormatter().format(record("x", access_token="secret", connection="a-1"))
    assert "secret" not in line
    assert set(json.loads(line)) <= {"time", "level", "logger", "message", *FIELDS}


def test_the_gateways_log_names_connections_and_clients_and_no_secret(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    with (
        processes.simulator(tmp_path) as broker,
        processes.gateway(tmp_path, BROKERPOOL_LOG_FORMAT="json") as gateway,
    ):
        key = processes.api_key(tmp_path)

        async def main() -> None:
            row = [{"exchange": "NSE", "symbol": "INFY"}]
            async with observing(gateway.said["ws_url"], key, [row]) as (client,):
                await until(lambda: client.ticks)
            await until(lambda: "client-1 left" in log.read_text())

        asyncio.run(main())
        assert gateway.terminate() == 0
        told = log.read_text()
        for secret in (broker.said["api_key"], broker.said["access_token"], key):
            assert secret not in told
    entries = [json.loads(line) for line in told.splitlines()]
    assert any((e.get("connection"), e.get("state")) == ("zerodha-1", "live") for e in entries)
    assert any(entry.get("client") == "client-1" and "close_code" in entry for entry in entries)
