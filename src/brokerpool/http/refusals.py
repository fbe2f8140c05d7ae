"""What a caller is told of a call without a good end: one error, with the state of the client in numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from brokerpool.callback_isolation import HookFailed
from brokerpool.errors import (
    CallFailedError,
    CallRefusedError,
    ErrorCode,
    OutcomeUnknown,
    PoolClosedError,
)
from brokerpool.http.breaker import FAULTS
from brokerpool.http.call import Call
from brokerpool.http.call_queue import Queue
from brokerpool.http.connection import AnswerTooLarge, AttemptFailed, ProxyRefused, UntrustedHost
from brokerpool.http.counters import Tally
from brokerpool.http.ratelimit import RateLimiter
from brokerpool.http.retry import Outcome
from brokerpool.http.user_hooks import Hooks


class Refusals:
    """Makes the errors of one client and counts them; no text has a query, a header or a body."""

    def __init__(
        self,
        name: str,
        *,
        queue: Queue,
        limiter: RateLimiter,
        tally: Tally,
        clock: Callable[[], float],
        hooks: Hooks,
    ) -> None:
        self._name = name
        self._queue = queue
        self._limiter = limiter
        self._tally = tally
        self._clock = clock
        self._hooks = hooks

    # -- nothing was sent ---------------------------------------------------------------------------------

    def closed(self) -> PoolClosedError:
        """The client was closed before the call, or while it waited."""
        return PoolClosedError(f"client {self._name} is closed.")

    def no_host(self, call: Call) -> CallRefusedError:
        """The call goes to one more host than there may be pools, and none of those is idle."""
        text = f"{call.label} goes to {call.host}, and calls are running on all of"
        return self._refused(f"{text} {', '.join(self._queue.hosts)}.", ErrorCode.HTTP_TOO_MANY_HOSTS)

    def held(self, call: Call, seconds: float) -> CallRefusedError:
        """The broker holds the call's group for longer than the call may wait."""
        text = f"{call.label} may not leave: the broker holds {call.group!r} for another {seconds:.1f} s."
        return self._refused(text, ErrorCode.RATE_LIMITED, seconds)

    def queue_full(self, call: Call) -> CallRefusedError:
        """The call's lane holds no more."""
        text = f"{call.label} was refused: {self._queue.queued(call.lane)} calls wait in the lane"
        return self._refused(f"{text} {call.lane.name}. {self._state(call)}", ErrorCode.HTTP_QUEUE_FULL)

    def waited(self, call: Call, seconds: float) -> CallRefusedError:
        """The call waited in vain."""
        text = f"{call.label} waited {seconds:.3f} s. {self._state(call)}"
        return self._refused(text, ErrorCode.HTTP_WAIT_TOO_LONG)

    def login_refused(self, call: Call) -> CallRefusedError:
        """The broker refuses the credentials, and there are no newer ones."""
        text = f"{call.label} was not sent: {call.host} refuses the credentials, and there are no newer ones."
        return self._refused(text, ErrorCode.BROKER_REFUSED_CREDENTIALS)

    def no_proof(self, call: Call, failed: HookFailed) -> CallRefusedError:
        """The hook that makes the headers of the login failed."""
        text = f"{call.label} was not sent, for it has no headers of the login: the hook {failed}."
        return self._refused(text, ErrorCode.HOOK_FAILED)

    def breaker_open(self, call: Call, seconds: float) -> CallRefusedError:
        """The breaker of the call's group is open."""
        text = f"{call.label} was not sent: {FAULTS} recent calls of {call.group!r} to {call.host} failed."
        return self._refused(text, ErrorCode.BREAKER_OPEN, seconds)

    # -- perhaps it was -----------------------------------------------------------------------------------

    def failed(self, call: Call, failure: AttemptFailed) -> CallFailedError | OutcomeUnknown:
        """The last attempt had no complete answer."""
        sent = failure.attempt.outcome is not Outcome.NOT_SENT
        if sent and not call.safe:
            return self.in_doubt(call, f"has no answer: {failure}", failure.attempt.status)
        code = ErrorCode.CALL_FAILED if sent else ErrorCode.CALL_NOT_SENT
        if isinstance(failure, UntrustedHost):
            code = ErrorCode.TLS_NOT_TRUSTED
        elif isinstance(failure, ProxyRefused):
            code = ErrorCode.PROXY_REFUSED
        elif isinstance(failure, AnswerTooLarge):
            code = ErrorCode.ANSWER_TOO_LARGE
        text = f"{self._name}: {call.label} on {call.host} failed: {failure}. {self._state(call)}"
        return CallFailedError(text, code=code, sent=sent)

    def out_of_time(self, call: Call, timeout: float) -> CallFailedError | OutcomeUnknown:
        """The call's time was up, or the client was closed before it was answered."""
        if call.in_doubt and not call.safe:
            return self.in_doubt(call, "was not answered in its time")
        where = "after it was sent" if call.in_doubt else "before it was sent"
        text = (
            f"{self._name}: {call.label} on {call.host} was not answered within {timeout:g} s; the time ended"
        )
        text = f"{text} {where}. {self._state(call)}"
        return CallFailedError(text, code=ErrorCode.CALL_TIMED_OUT, sent=call.in_doubt)

    def in_doubt(
        self, call: Call, what: str, status: int | None = None, answer: bytes = b""
    ) -> OutcomeUnknown:
        """A call that changes something was sent and has no clear answer."""
        self._tally.outcomes_unknown += 1
        reconcile = None
        if self._hooks.reconciles and call.order_tag is not None:
            reconcile = partial(self._asked, call.order_tag)
        text = f"{self._name}: {call.label} (tag {call.order_tag}) {what}."
        return OutcomeUnknown(text, tag=call.order_tag, status=status, answer=answer, reconcile=reconcile)

    # -- inside -------------------------------------------------------------------------------------------

    async def _asked(self, tag: str) -> Any:  # noqa: ANN401  (it is what the hook returns)
        try:
            return await self._hooks.reconcile(tag)
        except HookFailed as failed:
            text = f"{self._name}: what became of the order (tag {tag}) is still unknown: the hook {failed}."
            raise OutcomeUnknown(text, tag=tag, reconcile=partial(self._asked, tag)) from failed.__cause__

    def _refused(self, text: str, code: ErrorCode, retry_after: float | None = None) -> CallRefusedError:
        self._tally.refused[code.name] += 1
        return CallRefusedError(f"{self._name}: {text}", code=code, retry_after=retry_after)

    def _state(self, call: Call) -> str:
        now = self._clock()
        text = self._queue.describe(call.host, now)
        delay = self._limiter.delay(call.group, call.weight, now)
        if delay > 0:
            text += f" The rate limit of {call.group!r} lets the next call go in {delay:.1f} s."
        return text
