"""The credentials of one account: versioned, renewed at run time, and asked for by one party at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from brokerpool.fence import Fence, HookFailed, check_plain, name_of

#: How long a provider may take; one that hangs must not keep the pool from asking again.
PROVIDER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one login at the broker gave; `repr` shows no secret."""

    access_token: str = field(repr=False)
    #: Epoch seconds at which the token dies, when that is known beforehand.
    expires_at: float | None = None


#: Gets the credentials of the newest login: reads a file, asks a vault, logs in.
Provider: TypeAlias = Callable[[], Awaitable[Credentials]]


@dataclass(slots=True)
class _Question:
    """One call of the provider, and how many wait for its answer."""

    task: asyncio.Task[None]
    waiting: int = 0


class Login:
    """The present credentials and their version, which every change raises by one.

    A version that the broker refused is never dialled with again. New credentials come in through `renew`,
    or from the `provider`, which is asked when the present ones were refused or are about to expire.
    """

    def __init__(self, credentials: Credentials, provider: Provider | None = None) -> None:
        self.credentials = credentials
        self.version = 1
        #: True from the moment at which the broker refused this version until there is another one.
        self.refused = False
        #: Around the provider and the watchers.
        self.fence = Fence("login")
        self._provider = provider
        self._question: _Question | None = None
        self._watchers: list[Callable[[], None]] = []

    @property
    def renewable(self) -> bool:
        """True when there is a provider to ask."""
        return self._provider is not None

    @property
    def asking(self) -> bool:
        """True while the provider is being asked: `refresh` then waits for that answer."""
        return self._question is not None

    def renew(self, credentials: Credentials) -> bool:
        """Use these from the next dial on; tell whether they differ from the present ones."""
        if credentials.access_token == self.credentials.access_token:
            if credentials != self.credentials:  # the time of expiry is another one
                self.credentials = credentials
                self._say(refused=self.refused)
            return False
        self.credentials = credentials
        self.version += 1
        self._say(refused=False)
        return True

    def refuse(self, version: int) -> None:
        """Note that the broker refused a version; an old one says nothing about the present one."""
        if version == self.version and not self.refused:
            self._say(refused=True)

    async def refresh(self) -> bool:
        """Ask the provider, and tell whether there is a new version now.

        Callers that come while one question is open wait for its answer instead of asking again. A provider
        that fails, or takes longer than 30 seconds, changes nothing.
        """
        before = self.version
        if self._provider is not None:
            if self._question is None:
                asking = asyncio.create_task(self._ask(self._provider), name="brokerpool login")
                self._question = _Question(asking)
                asking.add_done_callback(self._answered)
            await self._answer(self._question)
        return self.version != before

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call the watcher after each refusal, each renewal, and each new time of expiry from now on.

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

    async def _answer(self, question: _Question) -> None:
        # One caller's cancellation must not take the answer from the others; that of the last one ends it,
        # and whoever comes after it asks anew.
        question.waiting += 1
        try:
            await asyncio.wait({question.task})
        finally:
            question.waiting -= 1
            if not question.waiting and not question.task.done():
                question.task.cancel()
                self._question = None

    async def _ask(self, provider: Provider) -> None:
        asked = partial(_credentials, provider)
        with contextlib.suppress(HookFailed):  # told and counted
            self.renew(await self.fence.ask(asked, name=name_of(provider), seconds=PROVIDER_SECONDS))

    def _answered(self, task: asyncio.Task[None]) -> None:
        if self._question is not None and self._question.task is task:
            self._question = None


async def _credentials(provider: Provider) -> Credentials:
    credentials = await provider()
    if not isinstance(credentials, Credentials):
        raise TypeError("a provider gives Credentials")
    return credentials
