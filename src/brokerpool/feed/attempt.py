"""One dial: the socket that it brings, or why it brings none and what that says of the next one."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import NamedTuple, Protocol

from brokerpool.brokers.base import BrokerFeed
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.transport import DialError, Link, LinkHandler

logger = logging.getLogger("brokerpool.feed")

DIAL_SECONDS = 10.0
_TOO_MANY_REQUESTS = 429


class Dial(Protocol):
    """How a socket is opened: `transport.dial`, or a stand-in with the same promises."""

    def __call__(
        self, url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Awaitable[Link]: ...


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


async def attempt(name: str, feed: BrokerFeed, handler: LinkHandler, dial: Dial) -> Link | Failure:
    """Dial once for the connection `name`; after the endpoint is known it takes `DIAL_SECONDS` at most.

    Nothing but a cancellation is raised: a fault of ours must not end the supervision of the socket.
    """
    try:
        endpoint = await feed.endpoint()
        return await dial(endpoint.url, handler, headers=endpoint.headers, timeout=DIAL_SECONDS)
    except DialError as error:
        return Failure(
            str(error),
            retry_after=error.retry_after or 0.0,
            busy=error.status == _TOO_MANY_REQUESTS,
            parks=error.status in (401, 403),
        )
    except BrokerError as error:
        return Failure(str(error), parks=error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS)
    except Exception:
        logger.exception("%s: unexpected error", name, extra={"connection": name})
        return Failure("unexpected error, see the log")
