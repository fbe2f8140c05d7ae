"""What a Dhan socket is asked for: JSON texts, each under the code of one mode; pure."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

import msgspec

from brokerpool.brokers.dhan.segments import security_id, segment
from brokerpool.brokers.wire import ControlBatch
from brokerpool.instruments import Token
from brokerpool.ticks import Mode

#: DhanHQ v2 documentation, annexure, "feed request code"; one more ends what the code began.
CODES = {Mode.LTP: 15, Mode.QUOTE: 17, Mode.DEPTH: 21}
_ENDS = 1


def requests(batch: ControlBatch, served: MutableMapping[Token, Mode]) -> list[str]:
    """Return the messages of a batch, and note in `served` in which mode each token is from then on.

    What is known under one code goes under that code. A token that changes its mode leaves the old one first,
    so that it never counts twice: the broker does not say whether a second code takes the place of the first.
    """
    ending: dict[Mode, list[Token]] = {}
    for token in (*batch.drop, *batch.remode):
        mode = served.pop(token, None)
        if mode is not None:
            ending.setdefault(mode, []).append(token)
    beginning: dict[Mode, list[Token]] = {}
    for part in (batch.add, batch.remode):
        for token, mode in part.items():
            served[token] = mode
            beginning.setdefault(mode, []).append(token)
    return [
        *(message(CODES[mode] + _ENDS, tokens) for mode, tokens in ending.items()),
        *(message(CODES[mode], tokens) for mode, tokens in beginning.items()),
    ]


def message(code: int, tokens: Iterable[Token]) -> str:
    """Return the message that names these tokens under a code; one may name as many as the broker takes."""
    named = [
        {"ExchangeSegment": segment(int(token)), "SecurityId": str(security_id(int(token)))}
        for token in tokens
    ]
    said = {"RequestCode": code, "InstrumentCount": len(named), "InstrumentList": named}
    return msgspec.json.encode(said).decode()
