"""One call of Acme's HTTP API, bounded in time and bytes, and what its answers complain of."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec

from brokerpool.brokers.rest import RestAnswer
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.untrusted_text import remembered

T = TypeVar("T")

_LONGEST_ANSWER = 1024 * 1024


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    body: bytes


class _Complaint(msgspec.Struct):
    error: str = ""


async def call(
    method: str, url: str, *, token: str = "", json: object = None, timeout: float = 10.0
) -> Answer:
    """Return an answer without a complaint. Raises BrokerError for any other, and for none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session,
            session.request(method, url, headers=headers, json=json, allow_redirects=False) as response,
        ):
            answer = Answer(response.status, await response.content.read(_LONGEST_ANSWER))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BrokerError(
            f"Acme did not answer ({type(error).__name__}).", code=ErrorCode.BROKER_UNREACHABLE
        ) from None
    complaint = fault(answer)
    if complaint is not None:
        raise complaint
    return answer


def fault(answer: RestAnswer) -> BrokerError | None:
    """Return what Acme complains of; None for a good answer."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return None
    codes = {
        HTTPStatus.UNAUTHORIZED: ErrorCode.BROKER_REFUSED_CREDENTIALS,
        HTTPStatus.TOO_MANY_REQUESTS: ErrorCode.RATE_LIMITED,
        HTTPStatus.BAD_REQUEST: ErrorCode.BROKER_REFUSED_CALL,
    }
    try:
        said = msgspec.json.decode(answer.body, type=_Complaint).error
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        said = ""
    code = codes.get(HTTPStatus(answer.status), ErrorCode.BROKER_UNREACHABLE)
    return BrokerError(f"Acme answered {answer.status}: {remembered(said)}", code=code)


def read(answer: RestAnswer, shape: type[T]) -> T:
    """Return what a good answer holds. Raises BrokerError (BROKER_UNREACHABLE) when it is not so shaped."""
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise BrokerError("Acme's answer is not as documented.", code=ErrorCode.BROKER_UNREACHABLE) from None
