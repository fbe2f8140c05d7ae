"""The functions that a client was given by its user: what one of them raises costs no call its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

from brokerpool.brokers.login import Credentials
from brokerpool.callback_isolation import Fence, HookFailed, check_plain
from brokerpool.errors import BrokerpoolError
from brokerpool.http.response import Response

#: Told of each call that has ended: method and path, the answer's status (None without one), the seconds that
#: it took, and how often it was sent.
Carried: TypeAlias = Callable[[str, int | None, float, int], None]
#: Asks the broker what became of the order with a tag.
Reconcile: TypeAlias = Callable[[str], Awaitable[Any]]

#: How long `reconcile` may take, which is several calls perhaps.
RECONCILE_SECONDS = 60.0


class Hooks:
    """Calls the hooks of one client; what they raise is logged and counted by their names."""

    def __init__(
        self,
        client: str,
        *,
        proof: Callable[[Credentials], Mapping[str, str]],
        too_fast: Callable[[Response], bool],
        refuses: Callable[[Response], bool],
        carried: Carried,
        reconcile: Reconcile | None,
    ) -> None:
        """Raises TypeError for one that is no function, or a coroutine function where nobody would await."""
        check_plain(proof=proof, too_fast=too_fast, refuses=refuses, carried=carried)
        if reconcile is not None and not callable(reconcile):
            raise TypeError("reconcile has to be a coroutine function")
        self.fence = Fence(client)
        self.reconciles = reconcile is not None
        self._proof = proof
        self._too_fast = too_fast
        self._refuses = refuses
        self._carried = carried
        self._reconcile = reconcile

    def proof(self, credentials: Credentials) -> Mapping[str, str]:
        """Return the headers that prove the credentials. Raises HookFailed."""
        try:
            headers = self._proof(credentials)
            if not all(isinstance(text, str) for header in headers.items() for text in header):
                raise TypeError("headers are texts")
        except BaseException as error:
            self.fence.caught("proof", error, secret=True)
            raise HookFailed(f"proof raised {type(error).__name__}") from None
        return headers

    def too_fast(self, response: Response) -> bool:
        """Tell whether an answer other than 429 means "too fast"; not when the hook raises."""
        return self.fence.call(self._too_fast, response, otherwise=False, name="too_fast")

    def refuses(self, response: Response) -> bool:
        """Tell whether the answer refuses the credentials; not when the hook raises."""
        return self.fence.call(self._refuses, response, otherwise=False, name="refuses")

    def carried(self, call: str, status: int | None, seconds: float, attempts: int) -> None:
        """Tell of a call that has ended."""
        self.fence.call(self._carried, call, status, seconds, attempts, otherwise=None, name="carried")

    async def reconcile(self, tag: str) -> Any:  # noqa: ANN401  (it is what the hook returns)
        """Return what the hook says. Raises HookFailed, and what calls to the broker raise."""
        assert self._reconcile is not None  # asked for where there is one
        asked = partial(self._reconcile, tag)
        passes = (BrokerpoolError,)
        return await self.fence.ask(asked, name="reconcile", seconds=RECONCILE_SECONDS, passes=passes)
