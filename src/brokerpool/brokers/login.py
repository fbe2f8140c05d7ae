"""The credentials of one account: versioned, renewed at run time, and asked for by one party at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TypeAlias

from brokerpool.brokers.retry_pacing import RetryPacing
from brokerpool.callback_isolation import Fence, HookFailed, check_plain, name_of

logger = logging.getLogger("brokerpool.brokers")

#: How long a provider may take; one that hangs must not keep the pool from asking again.
PROVIDER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one login at the broker gave; `repr` shows no secret."""

    access_token: str = field(repr=False)
    #: Epoch seconds at which the token dies, when that is known beforehand.
    expires_at: float | None = None
    #: The broker's id of the account's user, when it is known; no secret.
    user: str = ""
    #: Further secrets of the same login, by the broker's names for them, as a token of the feed.
    more: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Raises TypeError and ValueError for a token that is no text, and for a time that is none."""
        if not isinstance(self.access_token, str):
            raise TypeError(f"the access token is a {type(self.access_token).__name__}; give a text")
        if self.expires_at is not None and not _is_a_time(self.expires_at):
            raise ValueError("expires_at is a number of seconds since the epoch, as of time.time(), or None")


def _is_a_time(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


#: Gets the credentials of the newest login: reads a file, asks a vault, logs in. None says that nobody has
#: logged in anew, which is no fault.
Provider: TypeAlias = Callable[[], Awaitable[Credentials | None]]


def _check(given: object) -> None:
    if not isinstance(given, Credentials):
        raise TypeError(f"a {type(given).__name__} is no login; give Credentials(access_token)")


def _same(given: Credentials, known: Credentials) -> bool:
    """Tell whether these are of one login; who names no further secrets says nothing about them."""
    return given.access_token == known.access_token and given.more in ({}, known.more)


@dataclass(slots=True)
class _Question:
    """One call of the provider, and how many wait for its answer."""

    task: asyncio.Task[None]
    waiting: int = 0


class Login:
    """The present credentials and their version, which every change raises by one.

    A version that the broker refused is never dialled with again. New credentials come in through `renew`,
    or from the `provider`, which is asked when the present ones were refused or are about to expire. All who
    share the login share the provider's rests: one pacing for the sockets and the calls of an account.
    """

    def __init__(
        self, credentials: Credentials, provider: Provider | None = None, *, random: Random | None = None
    ) -> None:
        """Raises TypeError for credentials that are none, and for a provider that cannot be called."""
        _check(credentials)
        if provider is not None and not callable(provider):
            raise TypeError("a provider is a coroutine function that returns Credentials")
        self.credentials = credentials
        self.version = 1
        #: True from the moment at which the broker refused this version until there is another one.
        self.refused = False
        #: Around the provider and the watchers.
        self.fence = Fence("login")
        self._provider = provider
        self._question: _Question | None = None
        self._pacing = RetryPacing(random or Random())
        #: The version that the provider gave last; 0 when the present one came from elsewhere.
        self._provided = 0
        #: The token that the broker refused last.
        self._dead = ""
        self._watchers: list[Callable[[], None]] = []

    @property
    def renewable(self) -> bool:
        """True when there is a provider to ask."""
        return self._provider is not None

    @property
    def asking(self) -> bool:
        """True while the provider is being asked: `refresh` then waits for that answer."""
        return self._question is not None

    @property
    def rest(self) -> float:
        """For how many seconds `refresh` asks nobody, 0 when it does; see `RetryPacing`."""
        return self._pacing.rest(_now())

    @property
    def failures(self) -> int:
        """Questions in a row to the provider that did not help."""
        return self._pacing.failures

    def renew(self, credentials: Credentials) -> bool:
        """Use these from the next dial on; tell whether they differ from the present ones.

        Raises TypeError for what are none: a bare token is wrapped, as in `Credentials(token)`.
        """
        _check(credentials)
        if not _same(credentials, self.credentials):
            self._pacing.reset()
            self._provided = 0
        return self._take(credentials)

    def refuse(self, version: int) -> None:
        """Note that the broker refused a version; an old one says nothing about the present one."""
        if version == self.version and not self.refused:
            if version == self._provided:
                self._pacing.refused(_now())
            self._dead = self.credentials.access_token
            self._say(refused=True)

    def ask_again(self) -> None:
        """End the provider's rest: a person says that it has something new."""
        self._pacing.reset()
        self._say(refused=self.refused)

    async def refresh(self) -> bool:
        """Ask the provider unless it rests, and tell whether there is a new version now.

        Callers that come while one question is open wait for its answer instead of asking again. A provider
        that fails, or takes longer than 30 seconds, changes nothing, and rests the longer for it.
        """
        before = self.version
        if self._provider is not None and (self._question is not None or not self.rest):
            if self._question is None:
                asking = asyncio.create_task(self._ask(self._provider), name="brokerpool login")
                self._question = _Question(asking)
                asking.add_done_callback(self._answered)
            await self._answer(self._question)
        return self.version != before

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call the watcher after each refusal, each renewal, and what else is learned of a token from now on.

        What it raises is logged and counted, and the other watchers are called all the same. Raises TypeError
        for a coroutine function.
        """
        check_plain(watcher=watcher)
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call the watcher no more; one that never watched is ignored."""
        self._watchers = [known for known in self._watchers if known != watcher]

    def __repr__(self) -> str:
        return f"<Login version {self.version}{' refused' if self.refused else ''}>"

    def _say(self, *, refused: bool) -> None:
        self.refused = refused
        for watcher in list(self._watchers):
            self.fence.call(watcher, otherwise=None)

    def _take(self, credentials: Credentials) -> bool:
        if _same(credentials, self.credentials):
            # A file that is read again tells the token alone: what else is known of it stays known.
            known = self.credentials
            credentials = replace(
                credentials,
                expires_at=known.expires_at if credentials.expires_at is None else credentials.expires_at,
                user=credentials.user or known.user,
                more=credentials.more or known.more,
            )
            if credentials != known:
                self.credentials = credentials
                self._say(refused=self.refused)
            return False
        self.credentials = credentials
        self.version += 1
        self._say(refused=False)
        return True

    async def _answer(self, question: _Question) -> None:
        # One caller's cancellation must not take the answer from the others; that of the last one ends it.
        question.waiting += 1
        try:
            await asyncio.wait({question.task})
        finally:
            question.waiting -= 1
            if not question.waiting and not question.task.done():
                question.task.cancel()
                self._question = None
                # The provider may be in the middle of a login: whoever asks on and on must not lock it out.
                self._pacing.failed(_now())

    async def _ask(self, provider: Provider) -> None:
        asked, question = self.credentials, partial(_credentials, provider)
        given, failed = None, True
        with contextlib.suppress(HookFailed):  # told and counted
            given = await self.fence.ask(question, name=name_of(provider), seconds=PROVIDER_SECONDS)
            failed = False
        if given is not None and self._brings(given, asked):
            self._pacing.helped(_now())
            if not _same(given, self.credentials):
                self._provided = self.version + 1
            self._take(given)
        elif self.credentials is asked:  # what came from elsewhere meanwhile is no failure
            self._fail(failed)

    def _brings(self, given: Credentials, asked: Credentials) -> bool:
        """Tell whether an answer is to be tried: no dead token, and none that is older than the question."""
        token = given.access_token
        if _same(given, self.credentials):
            return not self.refused and given != self.credentials
        return token not in ("", self._dead, asked.access_token)

    def _fail(self, failed: bool) -> None:
        # That the login is refused is told once, with what to do; this is how often somebody looked since. A
        # provider that fails is told by the fence as well.
        self._pacing.failed(_now())
        text = "the credentials provider %s (%d in a row); it is not asked again for %.0f s"
        said = "failed" if failed else "has no newer login"
        logger.log(
            logging.INFO if self.failures == 1 else logging.DEBUG, text, said, self.failures, self.rest
        )

    def _answered(self, task: asyncio.Task[None]) -> None:
        if self._question is not None and self._question.task is task:
            self._question = None
            if task.cancelled():
                self._fail(failed=True)


async def _credentials(provider: Provider) -> Credentials | None:
    credentials = await provider()
    if credentials is not None and not isinstance(credentials, Credentials):
        raise TypeError("a provider gives Credentials, or None")
    return credentials


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # outside of a loop, whose time would be this one
        return time.monotonic()
