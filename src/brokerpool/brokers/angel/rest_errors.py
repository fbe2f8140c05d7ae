"""What Angel's answers mean: an error may have a 200, "too fast" has a 403, a dead login a code; pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

import msgspec

from brokerpool.brokers import base_rest
from brokerpool.brokers.rest import RestAnswer
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.untrusted_text import remembered

#: SmartAPI documentation, errors (looked up 2026-11-29): token invalid, expired or missing, session expired,
#: client not logged in, token empty.
_DEAD = frozenset({"AG8001", "AG8002", "AG8003", "AB1010", "AB1011", "AB4018"})
#: What the plain text of a 403 says when calls come too fast, and the code that candles have for it.
_TOO_FAST, _TOO_FAST_CODE = b"exceeding access rate", "AB1021"
#: Something went wrong on their side; try later.
_THEIRS = frozenset({"AB1004", "AB2000", "AB2001"})

# A complaint has a few hundred bytes; a longer answer is not searched for one.
_LONGEST_COMPLAINT = 4096
_LONGEST_TEXT = 200

_Shape = TypeVar("_Shape")


class _Envelope(msgspec.Struct):
    """What every answer has around its data; some pages of the documentation spell it otherwise."""

    status: bool | str = True
    success: bool | str = True
    message: str | None = ""
    errorcode: str | None = ""
    error_code: str | None = msgspec.field(name="errorCode", default="")

    @property
    def good(self) -> bool:
        return "false" not in (str(self.status).lower(), str(self.success).lower())

    @property
    def code(self) -> str:
        return self.errorcode or self.error_code or ""


def refuses(answer: RestAnswer) -> bool:
    """Tell whether the session has ended; a 403 says so only with one of the codes."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return True
    complaint = _complaint(answer)
    return complaint is not None and complaint.code in _DEAD


def too_fast(answer: RestAnswer) -> bool:
    """Tell whether calls come too fast: a 403 in plain text, or a code."""
    if answer.status == HTTPStatus.FORBIDDEN and _TOO_FAST in answer.body[:_LONGEST_COMPLAINT].lower():
        return True
    complaint = _complaint(answer)
    return complaint is not None and complaint.code == _TOO_FAST_CODE


def fault(answer: RestAnswer) -> BrokerError | None:
    """Return Angel's complaint under our code, with its words; None for a good answer."""
    complaint = _complaint(answer)
    if answer.status < HTTPStatus.BAD_REQUEST and complaint is None:
        return None
    said = "" if complaint is None else f" {complaint.code}: {complaint.message or ''}"
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or too_fast(answer):
        code = ErrorCode.RATE_LIMITED
    elif refuses(answer):
        code = ErrorCode.BROKER_REFUSED_CREDENTIALS
    elif complaint is None or not complaint.code or complaint.code in _THEIRS:
        code = ErrorCode.BROKER_UNREACHABLE
    else:
        code = ErrorCode.BROKER_REFUSED_CALL
    return BrokerError(f"Angel answered {answer.status}.{remembered(said, _LONGEST_TEXT)}", code=code)


def read_data(answer: RestAnswer, shape: type[_Shape]) -> _Shape:
    """Return what a good answer tells. Raises BrokerError (BROKER_UNREACHABLE) when it is not so shaped."""
    return base_rest.read_data("Angel", answer, shape)


def read_rows(answer: RestAnswer, shape: type[_Shape]) -> list[_Shape]:
    """Return the rows of a good answer, whose data are null where there are none; raises as `read_data`."""
    # A type that is made of a variable: msgspec reads it, and no type checker can.
    rows: list[_Shape] | None = read_data(answer, list[shape] | None)  # type: ignore[valid-type,arg-type]
    return rows or []


def _complaint(answer: RestAnswer) -> _Envelope | None:
    """Return what an answer complains of, None when it does not, or not in JSON."""
    if len(answer.body) > _LONGEST_COMPLAINT:
        return None
    try:
        envelope = msgspec.json.decode(answer.body, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # a page of the broker's edge
    return None if envelope.good else envelope
