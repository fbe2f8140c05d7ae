"""Carries calls over the account's HTTP pool; each that is known by its key leaves a line of the audit."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Event, Journal
from brokerpool.gateway.gatekeeper import Caller
from brokerpool.gateway.orders import order_paths
from brokerpool.gateway.orders.api_key import KeyedBody, KeyedQuery
from brokerpool.gateway.orders.order_paths import OrderCall
from brokerpool.gateway.rest.failures import RequestRefusedError
from brokerpool.http.call_queue import Lane
from brokerpool.http.client import BrokerClient
from brokerpool.http.response import Response
from brokerpool.untrusted_text import remembered

logger = logging.getLogger("brokerpool.orders")

#: Connections to the broker that queries leave to orders.
ORDER_CONNECTIONS = 2

#: Outcomes of a call: answered by the broker (the first two), or why there is no answer of the broker's.
OUTCOMES = ("accepted", "rejected", "unknown", "failed", "not sent", "withdrawn")

#: What `/stats` says where nothing is passed through.
NOTHING: dict[str, Any] = {
    "calls": {f"{lane.name.lower()} {outcome}": 0 for lane in Lane for outcome in OUTCOMES},
    "queries_under_way": 0,
}

_numbers = itertools.count(1)


class Passage:
    """One call on its way; `sent_at` tells from which moment on it may have reached the broker."""

    def __init__(self, call: OrderCall, content: KeyedBody | KeyedQuery, caller: Caller) -> None:
        self.call = call
        self.content = content
        self.caller = caller
        #: By which log, journal and the answer of an unknown outcome name it.
        self.tag = f"call-{next(_numbers)}"
        #: Epoch milliseconds, 0 before it left.
        self.sent_at = 0


class OrderCarrier:
    """Sends each call once, or again where that is safe, with the account's key in place of the client's.

    What may have been sent and changes something is never sent again: it ends as OutcomeUnknown. Queries may
    wait in numbers, and still leave room for orders. A caller who is cancelled leaves the queue; what was on
    its way then may be carried out, and the log has its tag.
    """

    def __init__(
        self,
        client: BrokerClient,
        key: Callable[[], str],
        journal: Journal,
        *,
        most_queries: int,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`key` gives the account's present key; `most_queries` may be under way at the same time."""
        self._client = client
        self._key = key
        self._journal = journal
        self._most_queries = most_queries
        self._wall_clock = wall_clock
        self._queries = 0
        self._ends = Counter(NOTHING["calls"])

    async def carry(self, passage: Passage) -> Response:
        """Return the broker's answer, whatever its status.

        Raises what `BrokerClient.request` raises, and RequestRefusedError (503) for a query too many.
        """
        call, began, end, said = passage.call, time.monotonic(), "failed", ""
        queries = call.lane is Lane.QUERY
        self._queries += queries
        try:
            if queries and self._queries > self._most_queries:
                raise RequestRefusedError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"{self._most_queries} queries are under way, and orders keep the rest of the places.",
                    code=ErrorCode.GATEWAY_BUSY,
                    retry_after=1,
                )
            response = await self._client.request(call.method, call.path, **self._options(passage))
            end, said = order_paths.outcome(response.status), str(response.status)
            return response
        except asyncio.CancelledError:
            end = "unknown" if passage.sent_at and not call.asks else "withdrawn"
            raise
        except BrokerpoolError as error:
            end, said = order_paths.unanswered(error), error.code.name
            raise
        finally:
            self._queries -= queries
            self._tell(passage, end, said, time.monotonic() - began)

    def held(self, call: OrderCall) -> float:
        """Return the seconds for which the broker still holds calls of this kind, 0 when it does not."""
        return self._client.held(call.group)

    def stats(self) -> dict[str, Any]:
        """Return how calls ended, by lane and outcome, and how many queries are under way."""
        return {"calls": dict(self._ends), "queries_under_way": self._queries}

    # -- inside -------------------------------------------------------------------------------------------

    def _options(self, passage: Passage) -> dict[str, Any]:
        call, content = passage.call, passage.content

        def leaves() -> Mapping[str, list[str]]:
            passage.sent_at = int(self._wall_clock() * 1000)
            return content.with_key(self._key()) if isinstance(content, KeyedQuery) else {}

        options: dict[str, Any] = {"params": leaves, "group": call.group, "lane": call.lane}
        if isinstance(content, KeyedBody):
            options["data"] = content.with_key(self._key())
            options["headers"] = {"Content-Type": "application/json"}
            options["reads"] = call.asks
        if not call.asks:
            options["order_tag"] = passage.tag
        return options

    def _tell(self, passage: Passage, end: str, said: str, seconds: float) -> None:
        call = passage.call
        self._ends[f"{call.lane.name.lower()} {end}"] += 1
        text = f"{passage.tag} {call.label} by {remembered(passage.caller.name)}: {end}"
        text = f"{text}{f' ({said})' if said else ''} in {seconds * 1000:.0f} ms"
        more = {"key": passage.caller.name, "endpoint": call.path, "outcome": end, "tag": passage.tag}
        level = logging.WARNING if end == "unknown" else logging.INFO
        logger.log(level, "%s", text, extra=more)
        if not call.asks:
            self._journal.note(Event.ORDER_CALL, reason=text)
