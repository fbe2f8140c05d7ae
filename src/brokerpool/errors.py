"""The exceptions that carry the codes of the catalogue; every one is a `BrokerpoolError`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from brokerpool.error_codes import ErrorCode as ErrorCode
from brokerpool.instruments import Instrument


class BrokerpoolError(Exception):
    """Base of all errors raised here; `code` is stable, the text says what happened and what to do next."""

    code: ErrorCode

    def __init__(self, message: str, *, code: ErrorCode | None = None) -> None:
        if code is not None:
            self.code = code
        super().__init__(f"{self.code.name}: {message} {self.code.action}")


class Refused(NamedTuple):
    """One symbol of a batch that was not accepted, and why."""

    instrument: Instrument
    code: ErrorCode
    message: str


class SubscriptionError(BrokerpoolError):
    """A batch was refused as a whole and nothing changed; `refused` lists the symbols at fault."""

    def __init__(self, message: str, refused: Sequence[Refused]) -> None:
        super().__init__(message)
        self.refused = tuple(refused)


class PoolExhaustedError(SubscriptionError):
    """The batch does not fit into the connections that the pool may open."""

    code = ErrorCode.MAX_CAPACITY_REACHED


class UnknownInstrumentError(SubscriptionError):
    """The batch names instruments that the broker does not list."""

    code = ErrorCode.SYMBOL_NOT_FOUND


class PoolClosedError(BrokerpoolError):
    """The pool was closed before the call."""

    code = ErrorCode.POOL_CLOSED


class PoolForkedError(BrokerpoolError):
    """The pool belongs to the process from which this one was forked."""

    code = ErrorCode.POOL_FORKED


class NotLiveError(BrokerpoolError):
    """Symbols without a first tick when the caller's time was up; `states` tells how far each one came."""

    code = ErrorCode.NOT_LIVE_IN_TIME

    def __init__(self, message: str, states: Mapping[Instrument, str]) -> None:
        super().__init__(message)
        self.states = dict(states)


class BrokerError(BrokerpoolError):
    """The broker could not be reached, or has refused the credentials or a call.

    `retry_after` is the number of seconds until another call makes sense, where that is known.
    """

    retry_after: float | None = None


class CallRefusedError(BrokerpoolError):
    """A call that the client itself did not let out; nothing was sent, so it may be made again.

    `retry_after` is the number of seconds until it makes sense, where that is known.
    """

    def __init__(self, message: str, *, code: ErrorCode, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class CallFailedError(BrokerpoolError):
    """A call without a complete answer; `sent` tells whether any of it may have reached the broker."""

    def __init__(self, message: str, *, code: ErrorCode, sent: bool) -> None:
        super().__init__(message, code=code)
        self.sent = sent


class OutcomeUnknown(BrokerpoolError):  # noqa: N818  (no error of anybody's: it is what is known of an order)
    """A call that changes something was sent, and whether it was carried out is not known.

    `tag` is the tag that the caller gave the order, `status` the broker's unclear answer if there was one and
    `answer` its body, which no text of the error quotes. `reconcile` asks the broker what became of the tag,
    where the client was given such a hook.
    """

    code = ErrorCode.OUTCOME_UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        tag: str | None,
        status: int | None = None,
        answer: bytes = b"",
        reconcile: Callable[[], Coroutine[Any, Any, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.tag = tag
        self.status = status
        self.answer = answer
        self._reconcile = reconcile

    @property
    def reconcilable(self) -> bool:
        """True when `reconcile` can ask: the call had an `order_tag`, and the client a hook for it."""
        return self._reconcile is not None

    async def reconcile(self) -> Any:  # noqa: ANN401  (it is what the hook returns)
        """Return what the client's `reconcile` hook says of the tag.

        Raises ValueError without a hook or a tag, OutcomeUnknown when the hook failed, and what calls raise.
        Cancelled, it cancels the hook; it may be asked again.
        """
        if self._reconcile is None:
            raise ValueError(
                f"the call had the tag {self.tag!r}, and the client no reconcile hook: give BrokerClient"
                " reconcile=..., a coroutine function of the tag, or look the tag up at the broker yourself"
                if self.tag is not None
                else "the call had no tag by which a reconcile hook could ask for it: give orders"
                " an order_tag, and compare the broker's order book with what you sent"
            )
        return await self._reconcile()


class DatabaseUnavailableError(BrokerpoolError):
    """No connection to the database for this caller; nothing was sent, so it may try again."""


class StoreError(BrokerpoolError):
    """The database, or what it holds, is at fault; the text quotes no statement and no value."""


class AccessError(BrokerpoolError):
    """The gateway does not let somebody in, or not that far; `fault` is the message alone.

    `retry_after` tells in how many seconds it may be tried again, None when that would not help.
    """

    def __init__(self, fault: str, *, code: ErrorCode, retry_after: float | None = None) -> None:
        super().__init__(fault, code=code)
        self.fault = fault
        self.retry_after = retry_after


class SettingsError(BrokerpoolError):
    """Settings at fault, all of them at once; values are never quoted, for they may be secrets."""

    code = ErrorCode.INVALID_SETTINGS
