"""BrokerClient: warm connections to a broker, and no call more than it allows."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import urlsplit

from brokerpool import argument_checks, open_pools
from brokerpool.brokers.login import Credentials, Login
from brokerpool.callback_isolation import check_plain
from brokerpool.egress import Egress
from brokerpool.http.attempts import Attempts
from brokerpool.http.authorization import Authorization
from brokerpool.http.call import Call, Json, Options, Params
from brokerpool.http.call_queue import Lane, Queue, Ticket
from brokerpool.http.coalesce import Batcher, Keys, SharedCalls
from brokerpool.http.connection import Connection
from brokerpool.http.encoding import Body
from brokerpool.http.ratelimit import RateLimiter, RateLimits
from brokerpool.http.response import Response
from brokerpool.http.retry import RetryPolicy
from brokerpool.http.tls import verifying
from brokerpool.http.user_hooks import Carried, Hooks, Reconcile
from brokerpool.running_loop import clock, running

T = TypeVar("T")

#: The group of endpoints of the calls that only warm connections.
WARM_UP = "warm-up"


def bearer(credentials: Credentials) -> dict[str, str]:
    """Return the header of RFC 6750, which most brokers take."""
    return {"Authorization": f"Bearer {credentials.access_token}"}


class BrokerClient:
    """Calls one account's HTTP API over kept-alive connections, which are few, counted and fairly shared.

    Every call ends within its timeout: with the broker's answer, whatever its status, or with an error that
    says whether anything was sent. Reads are repeated within a budget; an order is repeated only when
    nothing of it was sent, and otherwise ends as OutcomeUnknown. A caller who is cancelled leaves the line or
    the connection, which is closed; an order that was sent may be carried out, and the log has its tag. All
    methods belong to one event loop; `brokerpool.sync` has the blocking twin. `repr` and errors show no
    header, query or body.
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str | None = None,
        pool_connections: int = 10,
        pool_maxsize: int = 20,
        order_connections: int = 0,
        max_retries: int = 3,
        backoff_factor: float = 0.5,
        retry_statuses: Collection[int] = (429, 500, 502, 503, 504),
        timeout: float = 10.0,
        max_wait: float = 5.0,
        max_waiting: int = 1000,
        connect_timeout: float = 3.0,
        keep_alive: float = 45.0,
        max_body_bytes: int = 16 * 1024 * 1024,
        limits: RateLimits | None = None,
        login: Login | None = None,
        proof: Callable[[Credentials], Mapping[str, str]] = bearer,
        reconcile: Reconcile | None = None,
        too_fast: Callable[[Response], bool] = lambda response: False,
        refuses: Callable[[Response], bool] = lambda response: response.status in (401, 403),
        carried: Carried = lambda call, status, seconds, attempts: None,
        ssl_context: ssl.SSLContext | None = None,
        egress: Egress | None = None,
        source_address: str | None = None,
        random: Random | None = None,
    ) -> None:
        """Make a client; nothing is dialled before the first call.

        The `name` stands in errors, logs and statistics; without one it is the host's.
        `pool_connections` is the number of hosts, `pool_maxsize` that of connections to each; calls of the
        QUERY lane leave `order_connections` of them to the others. `timeout` spans waiting, dialling and all
        attempts; `max_wait` is the part that may pass in the queue, where each lane holds `max_waiting`
        calls. `keep_alive` is how many seconds an idle connection is kept: a little less than the broker.

        `proof` makes the headers that prove the credentials of the `login`, which other pools of the account
        may share; its provider is asked after an answer that `refuses` them. `reconcile` asks the broker what
        became of an order's tag. `too_fast` recognises an answer other than 429 that means "too fast".
        `carried` is told of each call that has ended, and must not wait. The `egress` says where calls leave
        from; `source_address` alone is short for an Egress with it.

        A hook that raises is logged and counted in `stats`, and costs no call its answer.

        Raises ValueError for a URL that is none, limits below 1, and an `ssl_context` that does not verify,
        TypeError for a hook that is no function, or a coroutine function other than `reconcile`, and
        SettingsError for a proxy of the environment that cannot be used.
        """
        parts = urlsplit(argument_checks.text("base_url", base_url))
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("base_url is http:// or https:// with a host, and without a login")
        name = parts.netloc if name is None else argument_checks.text("name", name)
        for what, time in (
            ("timeout", timeout),
            ("max_wait", max_wait),
            ("connect_timeout", connect_timeout),
            ("keep_alive", keep_alive),
        ):
            argument_checks.seconds(what, time, above_zero=True)
        argument_checks.seconds("backoff_factor", backoff_factor)
        for what, given, kind in (
            ("limits", limits, RateLimits),
            ("login", login, Login),
            ("egress", egress, Egress),
            ("ssl_context", ssl_context, ssl.SSLContext),
        ):
            if given is not None:
                argument_checks.instance(what, given, kind)
        if isinstance(retry_statuses, str) or not all(isinstance(status, int) for status in retry_statuses):
            raise TypeError("retry_statuses is a collection of numbers, as in (429, 503)")
        argument_checks.whole("max_retries", max_retries, 0)
        argument_checks.whole("pool_connections", pool_connections, 1)
        argument_checks.whole("pool_maxsize", pool_maxsize, 1)
        argument_checks.whole("order_connections", order_connections, 0)
        argument_checks.whole("max_waiting", max_waiting, 0)
        argument_checks.whole("max_body_bytes", max_body_bytes, 1)
        if egress is not None and source_address is not None:
            raise ValueError("the source_address is given twice: put it into the egress")
        egress = egress or Egress(source_address=source_address)
        egress.route(base_url)
        self.name = name
        hooks = Hooks(
            name, proof=proof, too_fast=too_fast, refuses=refuses, carried=carried, reconcile=reconcile
        )
        #: Around what the user's functions do; to be read only.
        self.fence = hooks.fence
        self._fences = (hooks.fence,) if login is None else (hooks.fence, login.fence)
        self._base_url = base_url.rstrip("/")
        self._host = parts.netloc
        self._timeout = timeout
        self._keep_alive = keep_alive
        self._random = random or Random()
        limiter = RateLimiter(limits or RateLimits())
        self._attempts = Attempts(
            name,
            queue=Queue(
                limiter,
                size=pool_maxsize,
                max_waiting=max_waiting,
                max_hosts=pool_connections,
                order_slots=order_connections,
            ),
            limiter=limiter,
            policy=RetryPolicy(
                self._random,
                max_retries=max_retries,
                backoff_factor=backoff_factor,
                statuses=retry_statuses,
            ),
            authorization=Authorization(login, hooks.proof) if login is not None else None,
            connect=partial(
                Connection,
                verifying(ssl_context),
                egress,
                keep_alive=keep_alive,
                connect_timeout=connect_timeout,
                max_body_bytes=max_body_bytes,
            ),
            hooks=hooks,
            max_wait=max_wait,
            keep_alive=keep_alive,
        )
        #: By method, address, headers and body.
        self._shared: SharedCalls[tuple[str, str, frozenset[tuple[str, str]], bytes | None], Response] = (
            SharedCalls()
        )
        self._batchers: list[Batcher[Any]] = []
        self._warming: set[asyncio.Task[None]] = set()
        open_pools.add("http", self, self.stats, self._attempts.guard)

    # -- calls --------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        path: str,
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
        share: bool = False,
        timeout: float | None = None,
    ) -> Response:
        """Return the broker's answer, whatever its status.

        `path` begins with a slash, or is a URL on another host of the broker. `group` chooses the rate
        limit, `lane` the urgency. In `params`, `json` and `data` (a form; bytes go as they are) members that
        are None are left out, and floats lose what arithmetic has left behind. A POST or PATCH, a call with
        an `order_tag` and one outside the QUERY lane change something, so they are repeated only when nothing
        of them was sent; `reads` says of a POST that it only asks. A `paced` one is tried before an open
        breaker as well: its caller sees to how often it comes. `share` lets equal reads that are in
        flight use one call; not for a read that must see what was done before it. `params` and `json` may be
        functions: the first is asked once, when the call leaves, the second for each attempt, so that it can
        hold credentials.

        Raises CallRefusedError (not let out), CallFailedError (no answer), OutcomeUnknown (an order was sent
        and has no clear answer), PoolClosedError, and before anything is sent TypeError and ValueError for
        arguments that cannot be meant or contradict each other, and values that mean nothing to a broker
        (nan, what is nested in a form).
        """
        argument_checks.text("method", method)
        argument_checks.text("group", group)
        argument_checks.instance("lane", lane, Lane)
        argument_checks.whole("weight", weight, 1)
        if order_tag is not None:
            argument_checks.text("order_tag", order_tag)
        timeout = (
            self._timeout if timeout is None else argument_checks.seconds("timeout", timeout, above_zero=True)
        )
        call = Call(
            method,
            self._url(path),
            params=params,
            headers=headers,
            json=json,
            data=data,
            group=group,
            lane=lane,
            weight=weight,
            order_tag=order_tag,
            reads=reads,
            paced=paced,
        )
        if not share:
            return await self._attempts.carry(call, timeout)
        if not call.safe or not (reads or call.method == "GET"):
            raise ValueError("only a GET that changes nothing, or a call that `reads`, can be shared")
        key = (call.method, str(call.url()), frozenset(call.headers.items()), call.body())
        return await self._shared.run(key, partial(self._attempts.carry, call, timeout))

    async def get(self, path: str, **options: Unpack[Options]) -> Response:
        """Ask for something; the same as `request` with GET, as the others are with their methods."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Unpack[Options]) -> Response:
        """Have something made or done; repeated only when nothing of it was sent, an order in its lane."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Unpack[Options]) -> Response:
        """Have something replaced; it may be repeated, unless it has an `order_tag` or a lane of orders."""
        return await self.request("PUT", path, **options)

    async def delete(self, path: str, **options: Unpack[Options]) -> Response:
        """Have something removed; it may be repeated, unless it has an `order_tag` or a lane of orders."""
        return await self.request("DELETE", path, **options)

    def batcher(
        self, call: Callable[[Keys], Awaitable[Mapping[str, T]]], *, most: int, window: float = 0.003
    ) -> Batcher[T]:
        """Return a batcher, see there, whose saved calls are counted in this client's statistics."""
        batcher = Batcher(call, most=most, window=window)
        self._batchers.append(batcher)
        return batcher

    # -- warm connections ---------------------------------------------------------------------------------

    async def warm_up(self, path: str = "/", *, most: int | None = None) -> int:
        """Use idle connections of the base URL once, all at the same time, and return how many answered.

        All of them, or as many as `most` says.

        Any answer to the GET will do, also a 404. The calls count in the group "warm-up" of the rate limits,
        which is not limited unless it is named there.
        """
        if most is not None:
            argument_checks.whole("most", most, 0)
        idle = self._attempts.queue.idle(self._host)
        calls = [self._warm_call(path) for _ in range(idle if most is None else min(idle, most))]
        return sum(await asyncio.gather(*(self._attempts.try_once(c, self._timeout) for c in calls)))

    def keep_warm(
        self, path: str = "/", *, interval: float = 20.0, when: Callable[[], bool] = lambda: True
    ) -> None:
        """From now on use each connection at least every `interval` seconds, while `when` says so.

        One connection at a time is taken for it, and none that was not opened yet. Ends with the client.
        A `when` that raises says no. Raises ValueError for an interval that is not shorter than `keep_alive`,
        and TypeError for a `when` that is no plain function.
        """
        running("keep_warm")
        check_plain(when=when)
        self._url(path)  # the task that goes on must not end by it
        if not 0 < argument_checks.seconds("interval", interval) < self._keep_alive:
            raise ValueError(
                f"an interval of {interval:g} s does not keep connections of {self._keep_alive:g} s"
            )
        keeps = self.fence.supervise(
            partial(self._keeps_warm, path, interval / 2, when), lambda: interval, name="keep_warm"
        )
        task = asyncio.create_task(keeps, name=f"{self.name}-keep-warm")
        self._warming.add(task)
        task.add_done_callback(self._warming.discard)

    # -- numbers and end ----------------------------------------------------------------------------------

    def held(self, group: str) -> float:
        """Return the seconds for which a 429 of the broker still holds a group of endpoints, else 0."""
        return self._attempts.limiter.held(argument_checks.text("group", group), clock())

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the client; the seed's two members first."""
        queue, now = self._attempts.queue, clock()
        return {
            "name": self.name,
            "pool_size": queue.size,
            "active_connections": queue.active(),
            "hosts": {h: {"active": queue.active(h), "idle": queue.idle(h)} for h in queue.hosts},
            "queued": {lane.name.lower(): queue.queued(lane) for lane in Lane},
            "oldest_wait_seconds": queue.oldest_wait(now),
            "holders": [
                {"call": t.label, "task": t.holder, "seconds": now - t.granted} for t in queue.holders()
            ],
            **self._attempts.tally.stats(),
            "breakers": self.breakers(),
            "tokens_left": self._attempts.limiter.left(now),
            "coalesced": self._shared.saved + sum(batcher.saved for batcher in self._batchers),
            "faults": dict(sum((fence.faults for fence in self._fences), Counter())),
        }

    def breakers(self) -> dict[str, str]:
        """Return how each breaker stands, by host and group: "closed", "open" or "half-open"."""
        return self._attempts.breakers()

    async def drain(self, deadline: float = 10.0) -> None:
        """Refuse new calls, end the waiting ones with PoolClosedError, give the others `deadline` seconds.

        What is still on its way then is cut off: an order ends as OutcomeUnknown. All sockets are closed, at
        once when the caller is cancelled.
        """
        argument_checks.seconds("deadline", deadline)
        open_pools.remove(self)
        for task in self._warming:
            task.cancel()
        await self._attempts.close(deadline)
        await asyncio.gather(*self._warming, return_exceptions=True)

    async def close(self) -> None:
        """Drain without waiting for calls that are on their way."""
        await self.drain(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    def __repr__(self) -> str:
        return f"<BrokerClient {self.name}: {self._host}, {self._attempts.queue!r}>"

    # -- inside -------------------------------------------------------------------------------------------

    def _url(self, path: str) -> str:
        if argument_checks.text("path", path).startswith("/"):
            return self._base_url + path
        parts = urlsplit(path)
        secure = parts.scheme == "https" or not self._base_url.startswith("https:")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not secure:
            raise ValueError("a path begins with a slash, or is a URL that is no less secure than base_url")
        return path

    async def _keeps_warm(self, path: str, idle_for: float, when: Callable[[], bool]) -> None:
        queue, clock = self._attempts.queue, asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(idle_for)
            while self.fence.call(when, otherwise=False, name="when"):
                call = self._warm_call(path)
                ticket = Ticket(
                    call.host, WARM_UP, Lane.QUERY, 1, call.label, f"{self.name}-keep-warm", clock()
                )
                if not queue.take_stalest(ticket, clock(), idle_for=idle_for):
                    break
                await self._attempts.try_once(call, self._timeout, ticket)

    def _warm_call(self, path: str) -> Call:
        return Call("GET", self._url(path), group=WARM_UP)
