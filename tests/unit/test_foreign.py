"""A stranger's text stays on its line, steers no terminal and is cut, wherever it is shown."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.event_journal import Event, Journal
from brokerpool.monitor.logs import JsonFormatter, TextFormatter
from brokerpool.untrusted_text import escaped, remembered
from tests.gateway_client import gateway, masked, raw_client
from tests.rehearsal import until

FORGED = "2026-11-28 05:00:00,000 ERROR   brokerpool.db: forged"
#: A line end, a terminal's sequences, a mark of direction, a line end of Unicode, half a character.
HOSTILE = f"bye\n{FORGED}\x1b[2J\x1b]0;x\x07\u202e\u2028\ud800"


@given(st.text(st.characters()))
def test_whatever_the_text_what_is_shown_is_printable(text: str) -> None:
    assert escaped(text).isprintable()
    assert text.isprintable() == (escaped(text) == text)


@given(st.text(st.characters()), st.integers(1, 40))
def test_what_is_remembered_is_bounded_and_says_that_it_is_cut(text: str, longest: int) -> None:
    shown = remembered(text, longest)
    assert len(shown) <= longest
    assert shown == escaped(text) or shown.endswith("…")


def test_neither_form_of_the_log_lets_a_text_begin_a_line_or_steer_a_terminal() -> None:
    def fail() -> None:
        raise ValueError(HOSTILE)

    try:
        fail()
    except ValueError:
        exc_info = sys.exc_info()
    logger = logging.getLogger("brokerpool.feed")
    record = logger.makeRecord("brokerpool.feed", logging.ERROR, "f", 1, HOSTILE, (), exc_info)
    text = TextFormatter().format(record)
    assert text.replace("\n", "").isprintable()
    assert not any(line.startswith(FORGED) for line in text.split("\n"))
    told = JsonFormatter().format(record)
    assert told.isprintable()
    assert json.loads(told)["message"] == HOSTILE


def test_the_journal_remembers_a_reason_in_one_short_line() -> None:
    journal = Journal()
    journal.note(Event.REFUSED, reason=HOSTILE + "x" * 100_000)
    (entry,) = journal.entries()
    assert entry.reason.isprintable()
    assert len(entry.reason) <= 300


def test_a_client_that_leaves_with_a_forged_line_writes_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")

    async def main() -> None:
        async with gateway() as (_, served_by):
            _, writer = await raw_client(served_by.ws_url, [], None)
            reason = HOSTILE.replace("\ud800", "").encode()
            writer.write(masked(struct.pack(">H", 1000) + reason, 8))
            await until(lambda: "forged" in caplog.text)
            writer.close()

    asyncio.run(main())
    (told,) = [record.getMessage() for record in caplog.records if "forged" in record.getMessage()]
    assert told.isprintable()
    assert r"bye\n2026-11-28" in told
