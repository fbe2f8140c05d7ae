"""Carries a call to the broker: attempts, repeats, and the verdict on what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias

from brokerpool.errors import BrokerpoolError, OutcomeUnknown
from brokerpool.http.admission import Admission
from brokerpool.http.authorization import Authorization
from brokerpool.http.breaker import Breaker
from brokerpool.http.call import Call
from brokerpool.http.connection import AnswerTooLarge, AttemptFailed, Connection, Progress, UntrustedHost
from brokerpool.http.deadline import Deadlines
from brokerpool.http.ratelimit import RateLimiter
from brokerpool.http.response import Response
from brokerpool.http.retry import Attempt, Outcome, RetryBudget, RetryPolicy, retry_after
from brokerpool.http.slots import Lane, Line, Ticket
from brokerpool.http.tally import Tally
from brokerpool.http.verdicts import Verdicts

logger = logging.getLogger("brokerpool.http")

#: Told of each call that has ended: method and path, the answer's status (None without one), the seconds that
#: it took, and how often it was sent.
Carried: TypeAlias = Callable[[str, int | None, float, int], None]

# Plain numbers: comparing with a member of an enumeration costs more.
_BAD_REQUEST, _SERVER_ERROR = int(HTTPStatus.BAD_REQUEST), int(HTTPStatus.INTERNAL_SERVER_ERROR)


class Courier:
    """Sends calls over the slots of one client, and repeats them as far as that is safe and within budget."""

    def __init__(
        self,
        name: str,
        *,
        line: Line,
        limiter: RateLimiter,
        policy: RetryPolicy,
        authorization: Authorization,
        connect: Callable[[], Connection],
        too_fast: Callable[[Response], bool],
        refuses: Callable[[Response], bool],
        reconcile: Callable[[str], Awaitable[Any]] | None,
        carried: Carried,
        max_wait: float,
        keep_alive: float,
    ) -> None:
        self._name = name
        #: The loop's clock, bound at the first call: it is read half a dozen times in each.
        self._now: Callable[[], float] = _now
        self.line = line
        self.limiter = limiter
        self.tally = Tally()
        self._verdicts = Verdicts(
            name, line=line, limiter=limiter, tally=self.tally, clock=_now, reconcile=reconcile
        )
        self._policy = policy
        self._budget = RetryBudget()
        self._authorization = authorization
        self._admission = Admission(line)
        self._connect = connect
        self._too_fast = too_fast
        self._refuses = refuses
        self._carried = carried
        self._max_wait = max_wait
        self._keep_alive = keep_alive
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._connections: dict[tuple[str, int], Connection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._calls: set[Call] = set()
        self._deadlines = Deadlines()
        #: Set once the last call has ended; there is one while somebody closes.
        self._idle: asyncio.Event | None = None
        self._closed = False

    # -- calls --------------------------------------------------------------------------------------------

    async def carry(self, call: Call, timeout: float) -> Response:
        """Return the broker's answer, whatever its status, within `timeout` seconds over all attempts.

        Raises CallRefusedError, CallFailedError, OutcomeUnknown or PoolClosedError.
        """
        self._now = asyncio.get_running_loop().time
        began = self._now()
        self.tally.requests += 1
        self._budget.called(began)
        status = None
        try:
            response = await self._within(call, timeout, self._attempts(call))
            status = response.status
            return response
        finally:
            took = self._now() - began
            self.tally.calls.observe(took)
            self._carried(call.label, status, took, call.attempts)

    async def try_once(self, call: Call, timeout: float, ticket: Ticket | None = None) -> bool:
        """Tell whether one attempt was answered; for calls that only keep a connection warm.

        A ticket that holds its slot already is used and released.
        """
        attempt = self._attempt(call) if ticket is None else self._on_slot(call, ticket, self._breaker(call))
        try:
            await self._within(call, timeout, attempt)
        except (AttemptFailed, BrokerpoolError) as error:
            logger.info("%s: %s to warm a connection failed: %s", self._name, call.label, error)
            return False
        return True

    async def close(self, seconds: float) -> None:
        """Refuse new calls and end the waiting ones, give those on their way `seconds`, close all sockets."""
        self._closed = True
        self._idle = self._idle or asyncio.Event()
        if not self._calls:
            self._idle.set()
        self._admission.fail_all(self._verdicts.closed)
        for call in [c for c in self._calls if c.resting]:
            _expire(call)
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%s: %d calls are cut off after %g s", self._name, len(self._calls), seconds)
        finally:
            # Also when whoever closes is cancelled: then there is no more time to give.
            for call in list(self._calls):
                _expire(call)
            await self._idle.wait()
            self._deadlines.close()
            # Kept in the dictionary, so that a second call finishes what a cancellation has interrupted.
            await asyncio.gather(*(c.close() for c in self._connections.values()), *self._closing)

    def breakers(self) -> dict[str, str]:
        """Return the state of each breaker by host and group."""
        return {f"{host} {group}": b.state(self._now()) for (host, group), b in self._breakers.items()}

    # -- attempts -----------------------------------------------------------------------------------------

    async def _within(self, call: Call, timeout: float, attempts: Coroutine[Any, Any, Response]) -> Response:
        if self._closed:
            attempts.close()
            raise self._verdicts.closed()
        self._calls.add(call)
        try:
            with self._deadlines.after(timeout, asyncio.get_running_loop()) as call.deadline:
                return await attempts
        except TimeoutError:
            assert call.deadline is not None
            if not call.deadline.expired:
                raise  # of a hook that we called
            verdict: BrokerpoolError = self._verdicts.out_of_time(call, timeout)
            if self._closed and not isinstance(verdict, OutcomeUnknown):
                verdict = self._verdicts.closed()
            raise verdict from None
        except asyncio.CancelledError:
            if call.in_doubt and not call.safe:
                logger.warning(
                    "%s: %s (tag %s) was cancelled after it was sent; its outcome is unknown",
                    self._name,
                    call.label,
                    call.order_tag,
                )
            raise
        finally:
            self._calls.discard(call)
            if self._idle is not None and not self._calls:
                self._idle.set()

    async def _attempts(self, call: Call) -> Response:
        tries, renewed = 0, False
        while True:
            response = failure = None
            try:
                response = await self._attempt(call)
                if response.status < _BAD_REQUEST and not self._too_fast(response):
                    self.limiter.accepted(call.group)
                    return response
                attempt = self._judged(call, response)
            except (UntrustedHost, AnswerTooLarge) as error:
                raise self._verdicts.failed(call, error) from None
            except AttemptFailed as error:
                failure, attempt = error, error.attempt
            if response is not None and _answers(attempt) and self._refuses(response):
                again = await self._authorization.renewed(call.proof) and not renewed
                if again:
                    renewed = True
                    self.tally.retries["credentials"] += 1
                    continue
            tries += 1
            if not await self._rests(call, tries, attempt):
                if failure is not None:
                    raise self._verdicts.failed(call, failure) from None
                assert response is not None  # no failure, so there is an answer
                if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not call.safe:
                    raise self._verdicts.in_doubt(
                        call, f"was answered with {response.status}", response.status
                    )
                return response

    def _judged(self, call: Call, response: Response) -> Attempt:
        """Say what a refusal means for the next attempt, and hold the group when it was "too fast"."""
        wait = retry_after(response.headers.get("Retry-After"), time.time())
        status = response.status
        if status == HTTPStatus.TOO_MANY_REQUESTS or self._too_fast(response):
            self.tally.too_fast += 1
            status = HTTPStatus.TOO_MANY_REQUESTS  # some brokers say it with a 403
            held = self.limiter.hold(call.group, self._now(), sent_at=call.sent_at, retry_after=wait)
            self._admission.stir()
            # The line itself waits for the end of a hold that is short enough, in the order of the lanes.
            wait = held if held > min(self._max_wait, self._time_left(call)) else 0.0
        else:
            self.limiter.accepted(call.group)
        return Attempt(Outcome.ANSWERED, f"status {status}", status, wait)

    async def _rests(self, call: Call, tries: int, attempt: Attempt) -> bool:
        """Wait until the next attempt and return True; return False at once when there is none."""
        delay = self._policy.delay(tries, attempt, safe=call.safe, time_left=self._time_left(call))
        if delay is None:
            return False
        if not self._budget.spend(self._now()):
            self.tally.retries_denied += 1
            return False
        self.tally.retries[attempt.reason] += 1
        call.resting = True
        try:
            await asyncio.sleep(delay)
        finally:
            call.resting = False
        return True

    async def _attempt(self, call: Call) -> Response:
        # Calling an order off is always tried.
        if (
            self._authorization.refused
            and call.lane is not Lane.CANCEL
            and not await self._authorization.usable()
        ):
            raise self._verdicts.login_refused(call)
        now = self._now()
        if call.weight != 1:
            self.limiter.delay(call.group, call.weight, now)  # raises for a weight that never fits
        breaker = self._check_breaker(call, now)
        evicted = self.line.open_host(call.host)
        if evicted is None:
            raise self._verdicts.no_host(call)
        for host in evicted:
            self._forget(host)
        if self._closed:
            raise self._verdicts.closed()
        ticket = Ticket(call.host, call.group, call.lane, call.weight, call.label, _task_name(), entered=now)
        if not self.line.take(ticket, now):
            await self._wait(call, ticket)
            self._waited(call, ticket)
        self.tally.waits.observe(ticket.granted - now)
        return await self._on_slot(call, ticket, breaker)

    async def _wait(self, call: Call, ticket: Ticket) -> None:
        seconds = min(self._max_wait, self._time_left(call))
        held = self.limiter.held(call.group, self._now())
        if held > seconds:
            raise self._verdicts.held(call, held)
        try:
            await self._admission.wait(ticket, seconds)
        except asyncio.QueueFull:
            raise self._verdicts.queue_full(call) from None
        except TimeoutError:
            raise self._verdicts.waited(call, seconds) from None

    def _waited(self, call: Call, ticket: Ticket) -> None:
        """Give the slot back when the breaker has opened while the call stood in line."""
        try:
            self._check_breaker(call, self._now())
        except BaseException:
            self._admission.release(ticket)
            raise

    async def _on_slot(self, call: Call, ticket: Ticket, breaker: Breaker) -> Response:
        """Send over the slot that the ticket holds, and release it whatever happens."""
        assert ticket.slot is not None  # granted
        probe = breaker.admit(ticket.granted)
        call.attempts += 1
        call.progress = progress = Progress(partial(self._left, call, ticket))
        key = (call.host, ticket.slot)
        connection = self._connections.get(key)
        again = connection is not None
        try:
            if connection is None:
                connection = self._connections[key] = self._connect()
            call.proof = self._authorization.version
            headers = {**self._authorization.headers(), **call.headers}
            response = await connection.send(call.method, call.url(), headers, call.body, progress)
        except AttemptFailed:
            breaker.failed(self._now(), probe=probe)
            raise
        except BaseException:
            if call.deadline is not None and call.deadline.expired and not self._closed:
                breaker.failed(self._now(), probe=probe)
            else:
                breaker.abandoned(probe=probe)
            raise
        else:
            if response.status >= _SERVER_ERROR:
                breaker.failed(self._now(), probe=probe)
            else:
                breaker.succeeded(probe=probe)
            return response
        finally:
            self._admission.release(ticket)
            if progress.sent or progress.dialled is not None:
                self._count_connection(call, progress, again)

    def _time_left(self, call: Call) -> float:
        """Return the seconds until the call's deadline."""
        assert call.deadline is not None  # set before the first attempt
        return max(0.0, call.deadline.when - self._now())

    def _left(self, call: Call, ticket: Ticket) -> None:
        call.sent_at = now = self._now()
        self._admission.sent(ticket, now)

    def _count_connection(self, call: Call, progress: Progress, again: bool) -> None:
        if self.tally.used(dialled=progress.dialled, again=again):
            logger.warning(
                "%s: reuse 0 %%: call after call to %s found its connection closed. The broker closes each,"
                " or it or keep_alive (%g s) does before the next call: call more often, or use keep_warm.",
                self._name,
                call.host,
                self._keep_alive,
            )

    # -- breakers and connections -------------------------------------------------------------------------

    def _check_breaker(self, call: Call, now: float) -> Breaker:
        breaker = self._breaker(call)
        wait = breaker.refused_for(now)
        if wait is not None and call.lane is not Lane.CANCEL:  # that lowers risk, so it is always tried
            raise self._verdicts.breaker_open(call, wait)
        return breaker

    def _breaker(self, call: Call) -> Breaker:
        breaker = self._breakers.get((call.host, call.group))
        if breaker is None:
            breaker = self._breakers[call.host, call.group] = Breaker()
        return breaker

    def _forget(self, host: str) -> None:
        for key in [key for key in self._connections if key[0] == host]:
            task = asyncio.create_task(self._connections.pop(key).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for known in [known for known in self._breakers if known[0] == host]:
            del self._breakers[known]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _expire(call: Call) -> None:
    if call.deadline is not None:
        call.deadline.expire()


def _answers(attempt: Attempt) -> bool:
    """Tell whether the broker has judged the call, instead of saying that it came too fast."""
    return attempt.status != HTTPStatus.TOO_MANY_REQUESTS


def _task_name() -> str:
    task = asyncio.current_task()
    return task.get_name() if task is not None else "no task"
