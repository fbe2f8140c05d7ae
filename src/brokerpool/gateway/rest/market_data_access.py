"""What the endpoints ask: the broker's HTTP API, its instrument list, and the access to both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request
from pydantic import SecretStr

from brokerpool.errors import ErrorCode
from brokerpool.gateway.account_market_data import AccountApis
from brokerpool.gateway.rest.failures import RequestRefusedError
from brokerpool.gateway.rest.instrument_search import InstrumentSearch
from brokerpool.gateway.rest.request_authorization import Access
from brokerpool.instruments import Instrument, TokenBook


@dataclass(frozen=True, slots=True)
class Market:
    """The accounts as the endpoints see them."""

    broker: str
    api: AccountApis
    #: Gives the instrument list of the day.
    book: Callable[[], TokenBook]
    instrument_search: InstrumentSearch
    access: Access

    def admit(self, request: Request, key: SecretStr) -> None:
        """Let a request in. Raises AccessError (403 or 429) and RequestRefusedError (429)."""
        self.access.admit(address(request), key.get_secret_value())

    def listed(self, instrument: Instrument) -> Instrument:
        """Return an instrument that the broker lists. Raises RequestRefusedError (400) for another one."""
        if self.book().token(instrument) is None:
            raise unknown(instrument)
        return instrument


def unknown(instrument: Instrument, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> RequestRefusedError:
    """Return the error for an instrument that the broker does not list."""
    return RequestRefusedError(
        status, f"The broker does not list {instrument}.", code=ErrorCode.SYMBOL_NOT_FOUND
    )


def address(request: Request) -> str:
    """Return where a request came from."""
    return request.client.host if request.client else "nowhere"
