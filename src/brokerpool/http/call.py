"""What one call asks for: encoded once, and settled when it leaves for the first time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias, TypedDict
from urllib.parse import urlsplit

from yarl import URL

from brokerpool.http.call_queue import Lane
from brokerpool.http.connection import Progress
from brokerpool.http.deadlines import Deadline
from brokerpool.http.encoding import Body, Query, form, json_body, query
from brokerpool.http.response import Response
from brokerpool.http.retry import IDEMPOTENT

#: A query, or what gives it at the moment in which the call leaves.
Params: TypeAlias = Query | Callable[[], Query]
#: A value for JSON, or what gives it at each moment in which the call leaves.
Json: TypeAlias = object | Callable[[], object]


class Options(TypedDict, total=False):
    """What `BrokerClient.request` takes by name, for the methods that are short for it."""

    params: Params | None
    headers: Mapping[str, str] | None
    json: Json
    data: Body | None
    group: str
    lane: Lane
    weight: int
    order_tag: str | None
    reads: bool
    paced: bool
    share: bool
    timeout: float | None


class Call:
    """One logical call, over all its attempts; `repr` shows neither query, headers nor body."""

    __slots__ = (
        *("method", "host", "label", "group", "lane", "weight", "order_tag", "paced", "safe", "headers"),
        *("_body", "_url", "_params", "_settled", "deadline", "progress", "proof", "attempts", "refusal"),
    )

    def __init__(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: Json = None,
        data: Body | None = None,
        group: str = "default",
        lane: Lane = Lane.QUERY,
        weight: int = 1,
        order_tag: str | None = None,
        reads: bool = False,
        paced: bool = False,
    ) -> None:
        """Raises ValueError for a body given twice, what cannot be sent, and an order that `reads`."""
        self.method, self.host, self.label, self._url = _target(method, url)
        self.group = group
        self.lane = lane
        self.weight = weight
        self.order_tag = order_tag
        #: Whether its caller sees to how often it comes, so that an open breaker takes it for a probe.
        self.paced = paced
        #: Whether it may be sent a second time when it is not known what became of the first.
        changes_nothing = order_tag is None and lane is Lane.QUERY
        self.safe = changes_nothing and (reads or self.method in IDEMPOTENT)
        if reads and not self.safe:
            raise ValueError("a call with an order_tag, or outside the QUERY lane, does more than read")
        self.headers = dict(headers) if headers else {}
        self._body: bytes | Callable[[], object] | None = None
        if json is not None or data is not None:
            kind, self._body = _encoded(json, data)
            if kind is not None:
                self.headers = {"Content-Type": kind, **self.headers}
        if params is not None and not callable(params) and not isinstance(params, Mapping):
            raise TypeError(f"params is a mapping of names to values, and not a {type(params).__name__}")
        self._params = params if params is None or callable(params) else query(params)
        self._settled: URL | None = None
        #: The deadline over all attempts, while the call runs.
        self.deadline: Deadline | None = None
        #: The attempt that runs, or the last one.
        self.progress: Progress | None = None
        #: How often it was given a slot.
        self.attempts = 0
        #: The version of the login with which it was sent last; 0 without a login.
        self.proof = 0
        #: The answer that refused the credentials, while newer ones are asked for.
        self.refusal: Response | None = None

    def url(self) -> URL:
        """Return the address with its query, which no longer changes after this."""
        if self._settled is None:
            params = query(self._params()) if callable(self._params) else self._params
            self._settled = self._url.extend_query(params) if params else self._url
        return self._settled

    def body(self) -> bytes | None:
        """Return the body of an attempt that leaves now, or None for a call without one."""
        return json_body(self._body()) if callable(self._body) else self._body

    @property
    def sent_at(self) -> float:
        """When the last attempt left, on the loop's clock; minus infinity before one did."""
        return self.progress.sent_at if self.progress is not None else -math.inf

    @property
    def in_doubt(self) -> bool:
        """True when something was sent and its answer has not been read."""
        return self.progress is not None and self.progress.sent and not self.progress.answered

    def __repr__(self) -> str:
        return f"<Call {self.label}>"


@lru_cache(maxsize=256)
def _target(method: str, url: str) -> tuple[str, str, str, URL]:
    """Return the method, the host, the label, and the parsed address."""
    method, parts = method.upper(), urlsplit(url)
    return method, parts.netloc, f"{method} {parts.path or '/'}", URL(url, encoded=True)


def _encoded(json: Json, data: Body | None) -> tuple[str | None, bytes | Callable[[], object] | None]:
    if json is not None and data is not None:
        raise ValueError("a call has json or data, not both")
    if json is not None:
        return "application/json", json if callable(json) else json_body(json)
    if isinstance(data, Mapping):
        return "application/x-www-form-urlencoded", form(data)
    if data is not None and not isinstance(data, bytes):
        raise ValueError(
            f"data is a mapping, which is sent as a form, or bytes, and not a {type(data).__name__}"
        )
    return None, data
