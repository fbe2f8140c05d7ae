"""What a client is refused shows in the gateway's log, and a flood of it stays small there."""

from __future__ import annotations

import asyncio
import logging

import pytest

from brokerpool.errors import ErrorCode
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.instruments import Instrument
from tests.gateway_client import client, gateway
from tests.rehearsal import until

GATEWAY = "brokerpool.gateway"


def test_a_refused_symbol_is_a_line_of_the_log_with_client_symbol_and_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by) as one:
            with caplog.at_level(logging.WARNING, GATEWAY):
                wanted = [{"symbol": "NOPE", "exchange": "NSE"}, {"symbol": 7, "exchange": "NSE\nforged"}]
                await one.ask(action="subscribe", symbols=wanted, mode="LTP")
                await one.ask(action="fly")
                await until(lambda: "a request" in caplog.text)

    asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records if "was refused" in record.getMessage()]
    assert any(line.startswith("client-") and "NSE:NOPE: SYMBOL_NOT_FOUND" in line for line in lines), lines
    assert any("INVALID_PARAMETERS" in line for line in lines), lines
    assert not any("\n" in line for line in lines)


def test_a_flood_of_refusals_is_eleven_lines_a_minute_and_none_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    log = RefusalLog(lambda: 7.0, lambda: now)
    many = {Instrument("NSE", f"S{n}"): (ErrorCode.SYMBOL_NOT_FOUND, "not listed") for n in range(3000)}
    with caplog.at_level(logging.WARNING, GATEWAY):
        for second in range(60):
            log.note(4, many)
            now += 1.0
            log.review()
            assert len(caplog.records) <= 11, second
    assert len(caplog.records) == 11
    assert "179,990 more in 60 s, the last one: client-4: NSE:S2999: SYMBOL_NOT_FOUND" in caplog.text


def test_a_client_s_text_is_cut_and_escaped_before_it_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog(lambda: 7.0, lambda: 0.0)
    with caplog.at_level(logging.WARNING, GATEWAY):
        log.complain(1, "x\n" * 100_000)
    assert len(caplog.records[0].getMessage()) < 1_000
    assert "\n" not in caplog.records[0].getMessage()
