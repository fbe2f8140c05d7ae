"""What tests of a login at a broker share: India's time, a person at the page, and what a refusal is."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from brokerpool import BrokerError, ErrorCode

IST = timezone(timedelta(hours=5, minutes=30))


def at(text: str) -> float:
    """Return the epoch seconds of a time in India."""
    return datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Shows where a redirect leads instead of following it."""

    def redirect_request(self, *args: object) -> None:
        return None


def log_in(address: str) -> str:
    """Press the button of the login page, and return the address to which that leads."""
    with urllib.request.urlopen(address, timeout=5) as page:
        assert b"<button" in page.read()
    opener = urllib.request.build_opener(_Stay)
    with pytest.raises(urllib.error.HTTPError) as moved:
        opener.open(urllib.request.Request(address, method="POST"), timeout=5)
    with moved.value as answer:
        assert answer.code == 302
        return str(answer.headers["Location"])


async def code_of(call: Awaitable[object]) -> ErrorCode:
    """Return the code with which a call is refused."""
    with pytest.raises(BrokerError) as refused:
        await call
    return refused.value.code


def assert_away_and_no_secret_shown(session: Any) -> None:
    """Fail where a session at a port that nobody listens on says anything but that, or shows a `hunter`."""

    async def main() -> None:
        for call in (session.holder("hunter2"), session.exchange("hunter3", "hunter4")):
            with pytest.raises(BrokerError) as away:
                await call
            assert away.value.code is ErrorCode.BROKER_UNREACHABLE
            assert "hunter" not in str(away.value) + repr(session)

    asyncio.run(main())
