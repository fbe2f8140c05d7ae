"""One dial: the socket that it brings, or why it brings none and what that says of the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from brokerpool import transport
from brokerpool.brokers.account import Account, DialRefusal, Endpoint
from brokerpool.callback_isolation import Fence, HookFailed, name_of
from brokerpool.egress import Egress
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.feed.sending_permission import ALONE, Permission
from brokerpool.transport import DialError, Link, LinkHandler

#: What one dial may take, the question where to included: it has one of the account's few permits meanwhile.
DIAL_SECONDS = 10.0
#: A stand-in for `transport.dial` that does not keep to its time-out is given up after so many more seconds.
_LATE_SECONDS = 1.0


class Dial(Protocol):
    """How a socket is opened: `transport.dial`, or a stand-in with the same promises."""

    def __call__(
        self, url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Awaitable[Link]: ...


def dialling(dial: Dial | None, egress: Egress | None, permission: Permission) -> Dial:
    """Return how sockets are opened: as given, else with `transport.dial`, which leaves as the egress says.

    Without the permission the dial fails and nothing leaves.
    """
    opened = dial or partial(transport.dial, egress=egress)

    async def permitted(
        url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Link:
        if not permission.holds():
            raise DialError("the account is not this process' any more; nothing was dialled")
        permission.dialling(0.0)
        return await opened(url, handler, headers=headers, timeout=timeout)

    return opened if permission is ALONE else permitted


class Failure(NamedTuple):
    """A dial that brought no socket."""

    #: Why, for people.
    fault: str
    #: Seconds for which the broker wants no further dial, 0 when it does not say.
    retry_after: float = 0.0
    #: True when the broker was there and wanted no further socket.
    busy: bool = False
    #: True when no dial makes sense before there are new credentials.
    parks: bool = False


async def attempt(feed: Account, handler: LinkHandler, dial: Dial, fence: Fence) -> Link | Failure:
    """Dial once; with the question for the endpoint it takes `DIAL_SECONDS` at most.

    Nothing but a cancellation is raised: a fault of the adapter's must not end the supervision of the socket.
    """

    async def endpoint() -> Endpoint:
        url, headers = await feed.endpoint()
        if not isinstance(url, str):
            raise TypeError("an Endpoint has a url and headers")
        return Endpoint(url, headers)

    now = asyncio.get_running_loop().time
    until = now() + DIAL_SECONDS
    asked = name_of(feed.endpoint)
    try:
        url, headers = await fence.ask(
            endpoint, name=asked, seconds=DIAL_SECONDS, passes=(BrokerpoolError, DialError)
        )
        left = max(0.0, until - now())
        async with asyncio.timeout(left + _LATE_SECONDS):
            return await dial(url, handler, headers=headers, timeout=left)
    except HookFailed as failed:
        return Failure(f"no address to dial: {failed}")
    except DialError as error:
        meaning = fence.call(feed.refused, error.status, otherwise=DialRefusal.TRY_ON)
        return Failure(
            str(error),
            retry_after=error.retry_after or 0.0,
            busy=meaning is DialRefusal.BUSY,
            parks=meaning is DialRefusal.PARK,
        )
    except BrokerpoolError as error:
        return Failure(
            str(error),
            retry_after=getattr(error, "retry_after", None) or 0.0,
            parks=error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS,
        )
    except BaseException as error:
        fence.caught("dial", error, secret=True)  # the URL may stand in its text, with the token
        return Failure("unexpected error, see the log")
