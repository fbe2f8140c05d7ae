"""What Dhan's HTTP API complains of, in either of its two forms; pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from brokerpool.brokers.rest import RestAnswer
from brokerpool.errors import ErrorCode
from brokerpool.untrusted_text import remembered

_LONGEST_TEXT = 200
#: A complaint is short; what is longer is data, which is not read twice.
_LONGEST_COMPLAINT = 4096

#: DhanHQ v2 documentation, annexure (looked up 2026-11-29): "trading API error" and "data API error" -> what
#: each is to us. What stands in neither is the broker's own trouble.
_KINDS = {
    **dict.fromkeys(("DH-901", "807", "808", "809", "810"), ErrorCode.BROKER_REFUSED_CREDENTIALS),
    **dict.fromkeys(("DH-904", "805"), ErrorCode.RATE_LIMITED),
    **dict.fromkeys(
        ("DH-902", "DH-903", "DH-905", "DH-906", "DH-907", "DH-911"), ErrorCode.BROKER_REFUSED_CALL
    ),
    **dict.fromkeys(("804", "806", "811", "812", "813", "814"), ErrorCode.BROKER_REFUSED_CALL),
}


class Complaint(NamedTuple):
    """One complaint: its code and its words."""

    code: str
    text: str

    @property
    def kind(self) -> ErrorCode:
        """What it is to us."""
        return _KINDS.get(self.code, ErrorCode.BROKER_UNREACHABLE)

    def __str__(self) -> str:
        return remembered(f"{self.code} {self.text}".strip(), _LONGEST_TEXT)


class _Told(msgspec.Struct, rename="camel"):
    """Either of the forms: `{errorCode, errorMessage}`, or `{"data": {"805": "..."}, "status": "failed"}`."""

    error_code: str = ""
    error_message: str = ""
    status: str | int = ""
    data: msgspec.Raw = msgspec.Raw()


def complaint(answer: RestAnswer) -> Complaint | None:
    """Return what an answer complains of, whatever its status; None for one without a complaint."""
    if answer.status < HTTPStatus.BAD_REQUEST and len(answer.body) > _LONGEST_COMPLAINT:
        return None
    try:
        told = msgspec.json.decode(answer.body, type=_Told)
        if told.error_code:
            return Complaint(told.error_code, told.error_message)
        if told.status != "failed":
            return None
        data = msgspec.json.decode(told.data, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # data, or an error page of the broker's edge
    code, text = next(iter(data.items()), ("", ""))
    return Complaint(code, str(text))
