"""A broker's answer, read to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from brokerpool.errors import BrokerError, ErrorCode


class Response:
    """Status, headers (their names in any case) and body; `repr` shows neither headers nor body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        #: The number of HTTP: 200 and so on.
        self.status = status
        self.headers = headers
        #: Whole, and without the compression of its way.
        self.body = body

    def json(self) -> Any:  # noqa: ANN401  (it is what the broker says)
        """Return what the body says. Raises BrokerError (ANSWER_NOT_JSON), which does not quote it."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = f"an answer with status {self.status} has {len(self.body)} bytes that are not JSON."
            raise BrokerError(text, code=ErrorCode.ANSWER_NOT_JSON) from None

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"
