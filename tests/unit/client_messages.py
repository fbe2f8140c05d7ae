"""Messages of the client protocol as tests write them, and replies as a client reads them."""

from __future__ import annotations

import json
from typing import Any

from brokerpool.gateway import client_actions, client_replies
from brokerpool.gateway.client_actions import Subscribe, Unsubscribe
from brokerpool.gateway.client_replies import Outcome, Outcomes


def ask(**members: Any) -> client_actions.Request:
    return client_actions.parse(json.dumps(members))


def subscribe(**members: Any) -> Subscribe:
    request = ask(action="subscribe", **members)
    assert isinstance(request, Subscribe)
    return request


def unsubscribe(**members: Any) -> Unsubscribe:
    request = ask(action="unsubscribe", **members)
    assert isinstance(request, Unsubscribe)
    return request


def told(reply: Outcomes, outcomes: list[Outcome]) -> dict[str, Any]:
    reply.add(outcomes)
    answer: dict[str, Any] = json.loads(reply.reply())
    return answer


def subscribed(request: Subscribe, *outcomes: Outcome) -> dict[str, Any]:
    return told(client_replies.Subscribed(request, 5, "zerodha"), list(outcomes))


def unsubscribed(request: Unsubscribe, *outcomes: Outcome) -> dict[str, Any]:
    return told(client_replies.Unsubscribed(request, "zerodha"), list(outcomes))


INFY = {"symbol": "INFY", "exchange": "NSE"}


NOPE = {"symbol": "NOPE", "exchange": "NSE"}
