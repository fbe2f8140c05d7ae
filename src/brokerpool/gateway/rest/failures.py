"""What is answered when there is nothing to answer with: status, shape and code of every failure; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from brokerpool.errors import AccessError, BrokerError, BrokerpoolError, CallRefusedError, ErrorCode

#: Everything else that goes wrong behind the gateway is 500, as OpenAlgo's clients expect.
_STATUS = {
    ErrorCode.SYMBOL_NOT_FOUND: HTTPStatus.BAD_REQUEST,
    ErrorCode.INTERVAL_NOT_SUPPORTED: HTTPStatus.BAD_REQUEST,
    ErrorCode.CONNECTION_UNKNOWN: HTTPStatus.NOT_FOUND,
    ErrorCode.CONNECTION_NOT_MOVABLE: HTTPStatus.CONFLICT,
    ErrorCode.TOO_MANY_DASHBOARDS: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.HTTP_QUEUE_FULL: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.HTTP_WAIT_TOO_LONG: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.AUTHENTICATION_ERROR: HTTPStatus.FORBIDDEN,
    ErrorCode.SCOPE_MISSING: HTTPStatus.FORBIDDEN,
    ErrorCode.HOST_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    ErrorCode.ORIGIN_NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    ErrorCode.KEYS_NOT_READ: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.ADDRESS_LOCKED_OUT: HTTPStatus.TOO_MANY_REQUESTS,
    ErrorCode.KEY_RATE_LIMIT: HTTPStatus.TOO_MANY_REQUESTS,
}


class InvalidSymbol(msgspec.Struct):
    """A symbol of a list that cannot be asked for, and why."""

    symbol: str
    exchange: str
    error: str


class Failure(msgspec.Struct, tag_field="status", tag="error"):
    """Every answer that is no success; `message` is a text, or field -> messages for a faulty request."""

    message: str | dict[str, list[str]]
    #: The name of an ErrorCode.
    code: str
    #: Seconds, rounded up; also in the header Retry-After.
    retry_after: int | UnsetType = UNSET
    invalid_symbols: list[InvalidSymbol] | UnsetType = UNSET


class RequestRefusedError(BrokerpoolError):
    """A request that the gateway itself does not answer, with the HTTP status that says so."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        code: ErrorCode,
        retry_after: int | None = None,
        invalid_symbols: Sequence[InvalidSymbol] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after = retry_after
        self.invalid_symbols = list(invalid_symbols)


class FaultyRequestError(Exception):
    """A request that contradicts itself: field -> what is wrong with it."""

    def __init__(self, **fields: str) -> None:
        super().__init__(fields)
        self.fields = {field: [message] for field, message in fields.items()}


def failure(error: BrokerpoolError) -> tuple[int, Failure]:
    """Return status and answer for an error of the gateway, the HTTP pool or the broker."""
    answer = Failure(str(error), error.code.name)
    if isinstance(error, RequestRefusedError):
        status = error.status
        answer.retry_after = UNSET if error.retry_after is None else error.retry_after
        answer.invalid_symbols = error.invalid_symbols or UNSET
        return status, answer
    status = _STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    wait = error.retry_after if isinstance(error, CallRefusedError | BrokerError | AccessError) else None
    if wait is not None or status == HTTPStatus.TOO_MANY_REQUESTS:
        answer.retry_after = max(1, math.ceil(wait or 0))
    return status, answer


def faulty(fields: Mapping[str, list[str]]) -> Failure:
    """Return the answer to a request that is not as documented."""
    return Failure(dict(fields), ErrorCode.INVALID_PARAMETERS.name)


def faults(errors: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return field -> messages from what pydantic found, without quoting what was sent."""
    fields: dict[str, list[str]] = {}
    for error in errors:
        # The first part says whether it was the body, the query or the path.
        name = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
        if error["type"] == "json_invalid":
            name = "body"
        fields.setdefault(name, []).append(str(error["msg"]).removeprefix("Value error, "))
    return fields
