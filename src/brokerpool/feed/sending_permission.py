"""Whether an account's sockets may dial and send at this moment, and what somebody else has sent before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Permission:
    """Given to a pool by whoever lets it have the account; by default it is the account's only one, for good."""

    #: Asked before each dial and message: once it returns False nothing leaves any more, and a socket that
    #: would have sent is aborted.
    holds: Callable[[], bool] = _always
    #: How many seconds ago dials left, or may have left, that others made for the account.
    dialled: tuple[float, ...] = ()
    #: True where others may just have sent as many messages as the account's windows allow.
    messages_spent: bool = False
    #: Tells how many sockets of others may still be open at the broker.
    left_open: Callable[[], int] = int


#: Of a pool that has its account for itself.
ALONE = Permission()
