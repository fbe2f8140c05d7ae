"""Carries a call to the broker: attempts, repeats, and the error when it has no good end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus

from brokerpool.callback_isolation import HookFailed
from brokerpool.errors import BrokerpoolError, OutcomeUnknown
from brokerpool.fork_guard import ForkGuard
from brokerpool.http.authorization import Authorization
from brokerpool.http.breaker import Breaker
from brokerpool.http.call import Call
from brokerpool.http.call_queue import Lane, Queue, Ticket
from brokerpool.http.connection import (
    AnswerTooLarge,
    AttemptFailed,
    Connection,
    Progress,
    ProxyRefused,
    UntrustedHost,
)
from brokerpool.http.counters import Tally
from brokerpool.http.deadlines import Deadlines
from brokerpool.http.host_connections import Hosts
from brokerpool.http.ratelimit import RateLimiter
from brokerpool.http.refusals import Refusals
from brokerpool.http.response import Response
from brokerpool.http.retry import Attempt, Outcome, RetryBudget, RetryPolicy, retry_after
from brokerpool.http.user_hooks import Hooks
from brokerpool.running_loop import clock
from brokerpool.wait_queue import Waiting

logger = logging.getLogger("brokerpool.http")

# Plain numbers: comparing with a member of an enumeration costs more.
_BAD_REQUEST, _SERVER_ERROR = int(HTTPStatus.BAD_REQUEST), int(HTTPStatus.INTERNAL_SERVER_ERROR)


class Attempts:
    """Sends calls over the slots of one client, and repeats them as far as that is safe and within budget."""

    def __init__(
        self,
        name: str,
        *,
        queue: Queue,
        limiter: RateLimiter,
        policy: RetryPolicy,
        authorization: Authorization | None,
        connect: Callable[[], Connection],
        hooks: Hooks,
        max_wait: float,
        keep_alive: float,
    ) -> None:
        self._name = name
        #: The loop's clock, bound at the first call: it is read half a dozen times in each.
        self._now: Callable[[], float] = clock
        self.queue = queue
        self.limiter = limiter
        self.tally = Tally()
        self._refusals = Refusals(
            name, queue=queue, limiter=limiter, tally=self.tally, clock=clock, hooks=hooks
        )
        self._policy = policy
        self._budget = RetryBudget()
        self._authorization = authorization
        self._waiting = Waiting(queue, self.tally)
        self._hosts = Hosts(connect)
        self._hooks = hooks
        self._max_wait = max_wait
        self._keep_alive = keep_alive
        self._running = Deadlines()
        #: Whose process and loop it is.
        self.guard = ForkGuard(self, f"client {name}")
        self._closed = False

    # -- calls --------------------------------------------------------------------------------------------

    async def carry(self, call: Call, timeout: float) -> Response:
        """Return the broker's answer, whatever its status, within `timeout` seconds over all attempts.

        Raises CallRefusedError, CallFailedError, OutcomeUnknown or PoolClosedError.
        """
        loop = asyncio.get_running_loop()
        self._now = loop.time
        began = self._now()
        self.tally.requests += 1
        self._budget.called(began)
        status = None
        try:
            self._check_open()
            with self._running.until(began + timeout, loop) as call.deadline:
                response = await self._attempts(call)
            status = response.status
            return response
        except TimeoutError:
            if call.deadline is None or not call.deadline.expired:
                raise  # of the caller's `params`
            if call.refusal is not None:
                status = call.refusal.status
                return call.refusal
            raise self._out_of_time(call, timeout) from None
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
            took = self._now() - began
            self.tally.calls.observe(took)
            self._hooks.carried(call.label, status, took, call.attempts)

    async def try_once(self, call: Call, timeout: float, ticket: Ticket | None = None) -> bool:
        """Tell whether one attempt was answered; for calls that only keep a connection warm.

        A ticket that holds its slot already is used and released.
        """
        loop = asyncio.get_running_loop()
        try:
            self._check_open()
            with self._running.until(loop.time() + timeout, loop) as call.deadline:
                await self._attempt(call, ticket)
        except (AttemptFailed, BrokerpoolError, TimeoutError) as error:
            logger.info("%s: %s to warm a connection failed: %s", self._name, call.label, error or "time-out")
            return False
        return True

    async def close(self, seconds: float) -> None:
        """Refuse new calls and end the waiting ones, give those on their way `seconds`, close all sockets."""
        if self.guard.elsewhere:
            return  # all of it is the parent's
        self._closed = True
        self._waiting.fail_all(self._refusals.closed)
        self._running.expire(resting=True)
        try:
            async with asyncio.timeout(seconds):
                await self._running.idle()
        except TimeoutError:
            logger.warning("%s: %d calls are cut off after %g s", self._name, len(self._running), seconds)
        finally:
            # Also when whoever closes is cancelled: then there is no more time to give.
            self._running.expire()
            await self._running.idle()
            await self._hosts.close()

    def breakers(self) -> dict[str, str]:
        """Return the state of each breaker by host and group."""
        return self._hosts.states(self._now())

    # -- attempts -----------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        self.guard.enter()
        if self._closed:
            raise self._refusals.closed()

    def _out_of_time(self, call: Call, timeout: float) -> BrokerpoolError:
        error = self._refusals.out_of_time(call, timeout)
        if self._closed and not isinstance(error, OutcomeUnknown):
            return self._refusals.closed()
        return error

    async def _attempts(self, call: Call) -> Response:
        tries, renewed = 0, False
        while True:
            response = failure = None
            try:
                response = await self._attempt(call)
                if self._is_good(response):
                    self.limiter.accepted(call.group)
                    return response
                attempt = self._judged(call, response)
            except (UntrustedHost, ProxyRefused, AnswerTooLarge) as error:
                raise self._refusals.failed(call, error) from None
            except AttemptFailed as error:
                failure, attempt = error, error.attempt
            if (
                response is not None
                and _answers(attempt)
                and self._hooks.refuses(response)
                and await self._login_renewed(call, response)
                and not renewed
            ):
                renewed = True
                self.tally.retries["credentials"] += 1
                continue
            tries += 1
            if not await self._rests(call, tries, attempt):
                if failure is not None:
                    raise self._refusals.failed(call, failure) from None
                assert response is not None  # no failure, so there is an answer
                if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not call.safe:
                    what = f"was answered with {response.status}"
                    raise self._refusals.in_doubt(call, what, response.status, response.body)
                return response

    def _is_good(self, response: Response) -> bool:
        """Tell an answer from a complaint, for which some brokers have a 200 as well."""
        if response.status >= _BAD_REQUEST or self._hooks.too_fast(response):
            return False
        return self._authorization is None or not self._hooks.refuses(response)

    async def _login_renewed(self, call: Call, refusal: Response) -> bool:
        if self._authorization is None:
            return False
        call.refusal = refusal  # a provider that takes all of the call's time does not cost it this answer
        renewed = await self._authorization.renewed(call.proof)
        call.refusal = None
        return renewed

    def _judged(self, call: Call, response: Response) -> Attempt:
        """Say what a refusal means for the next attempt, and hold the group when it was "too fast"."""
        told = response.headers.get
        wait = retry_after(told("Retry-After"), time.time(), told("Date"))
        status = response.status
        if status == HTTPStatus.TOO_MANY_REQUESTS or self._hooks.too_fast(response):
            self.tally.too_fast += 1
            status = HTTPStatus.TOO_MANY_REQUESTS  # some brokers say it with a 403
            held = self.limiter.hold(call.group, self._now(), sent_at=call.sent_at, retry_after=wait)
            self._waiting.stir()
            # The queue itself waits for the end of a hold that is short enough, in the order of the lanes.
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
        assert call.deadline is not None  # set before the first attempt
        call.deadline.resting = True
        try:
            await asyncio.sleep(delay)
        finally:
            call.deadline.resting = False
        return True

    async def _attempt(self, call: Call, ticket: Ticket | None = None) -> Response:
        """Send over the slot that the ticket holds, or over one that is waited for, and release it."""
        breaker = self._hosts.breaker(call.host, call.group)
        if ticket is None:
            if self._authorization is not None:
                await self._check_login(call, self._authorization)
            ticket = self._enter(call, breaker)
            if ticket.slot is None:
                await self._wait(call, ticket, breaker)
            self.tally.admitted(ticket)
        assert ticket.slot is not None  # granted
        probe = not breaker.closed and breaker.admit(ticket.granted, early=call.paced)
        call.attempts += 1
        leaves = partial(self._sent, ticket) if ticket.reserved else None
        call.progress = progress = Progress(self._now, leaves)
        connection, again = self._hosts.connection(call.host, ticket.slot)
        try:
            headers = call.headers
            if self._authorization is not None:
                call.proof = self._authorization.version
                headers = {**self._proof(call, self._authorization), **headers}
            response = await connection.send(call.method, call.url(), headers, call.body(), progress)
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
            self._waiting.release(ticket, self._now())
            if (progress.sent or progress.dialled is not None) and self.tally.used(progress.dialled, again):
                self._warn_of_no_reuse(call)

    def _proof(self, call: Call, authorization: Authorization) -> Mapping[str, str]:
        try:
            return authorization.headers()
        except HookFailed as failed:
            raise self._refusals.no_proof(call, failed) from None

    async def _check_login(self, call: Call, authorization: Authorization) -> None:
        # Calling an order off is always tried.
        if authorization.refused and call.lane is not Lane.CANCEL and not await authorization.usable():
            raise self._refusals.login_refused(call)

    def _enter(self, call: Call, breaker: Breaker) -> Ticket:
        """Return a ticket, which has its slot at once if that is possible."""
        now = self._now()
        if call.weight != 1:
            self.limiter.delay(call.group, call.weight, now)  # raises for a weight that never fits
        self._check_breaker(call, breaker, now)
        evicted = self.queue.open_host(call.host)
        if evicted is None:
            raise self._refusals.no_host(call)
        for host in evicted:
            self._hosts.forget(host)
        self._check_open()  # perhaps closed while it waited for a login or its next attempt
        assert call.deadline is not None  # set before the first attempt
        holder = call.deadline.holder
        ticket = Ticket(call.host, call.group, call.lane, call.weight, call.label, holder, entered=now)
        self.queue.take(ticket, now)
        return ticket

    async def _wait(self, call: Call, ticket: Ticket, breaker: Breaker) -> None:
        """Return when the ticket has its slot; whenever it raises, the ticket holds nothing."""
        seconds = min(self._max_wait, self._time_left(call))
        held = self.limiter.held(call.group, self._now())
        if held > seconds:
            raise self._refusals.held(call, held)
        try:
            await self._waiting.wait(ticket, seconds)
        except asyncio.QueueFull:
            raise self._refusals.queue_full(call) from None
        except TimeoutError:
            raise self._refusals.waited(call, seconds) from None
        try:
            self._check_breaker(call, breaker, self._now())  # it may have opened meanwhile
        except BaseException:
            self._waiting.release(ticket, self._now())
            raise

    def _sent(self, ticket: Ticket, now: float) -> None:
        self.queue.sent(ticket, now)
        self._waiting.stir()  # from now on it is known when the windows have room again

    def _check_breaker(self, call: Call, breaker: Breaker, now: float) -> None:
        if breaker.closed or call.paced or call.lane is Lane.CANCEL:
            return  # calling off lowers risk, so it is always tried
        wait = breaker.refused_for(now)
        if wait is not None:
            raise self._refusals.breaker_open(call, wait)

    def _time_left(self, call: Call) -> float:
        """Return the seconds until the call's deadline."""
        assert call.deadline is not None  # set before the first attempt
        return max(0.0, call.deadline.when - self._now())

    def _warn_of_no_reuse(self, call: Call) -> None:
        logger.warning(
            "%s: reuse 0 %%: call after call to %s found its connection closed. The broker closes each,"
            " or it or keep_alive (%g s) does before the next call: call more often, or use keep_warm.",
            self._name,
            call.host,
            self._keep_alive,
        )


def _answers(attempt: Attempt) -> bool:
    """Tell whether the broker has judged the call, instead of saying that it came too fast."""
    return attempt.status != HTTPStatus.TOO_MANY_REQUESTS
