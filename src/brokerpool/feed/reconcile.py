"""What one socket must still be told: the difference between what is wanted and what was sent."""

from __future__ import annotations

from collections.abc import Mapping

from brokerpool.brokers.wire import ControlBatch
from brokerpool.instruments import Token
from brokerpool.ticks import Mode


class Reconciler:
    """Turns changes of demand into batches, and a new socket into the same batches again.

    `sent` never goes above what was wanted at some moment of this socket's life: all drops leave before
    any add, so that a place is free at the broker before it is taken again.
    """

    def __init__(self) -> None:
        self._wanted: dict[Token, Mode] = {}
        self._sent: dict[Token, Mode] = {}
        self._drops: dict[Token, None] = {}  # dicts keep the order of the requests
        self._adds: dict[Token, None] = {}
        #: What was sent and has changed its mode since: a refusal may be about either.
        self._changed: set[Token] = set()
        #: What was sent and refused. It is dropped like all else: a request may have crossed the refusal.
        self._refused: set[Token] = set()

    @property
    def wanted(self) -> Mapping[Token, Mode]:
        """What the broker ought to serve on this socket."""
        return self._wanted

    @property
    def sent(self) -> Mapping[Token, Mode]:
        """What the broker has been asked for on this socket."""
        return self._sent

    @property
    def pending(self) -> int:
        """Tokens whose last change is not sent yet."""
        return len(self._drops) + len(self._adds)

    def want(self, token: Token, mode: Mode) -> None:
        """Ask for a token, or for another mode of it."""
        self._wanted[token] = mode
        self._drops.pop(token, None)
        if self._sent.get(token) == mode and token not in self._refused:
            self._adds.pop(token, None)
        else:
            self._adds[token] = None

    def drop(self, token: Token) -> None:
        """Give a token up; one that was never wanted is ignored."""
        self._wanted.pop(token, None)
        self._adds.pop(token, None)
        if token in self._sent:
            self._drops[token] = None

    def refuse(self, token: Token, *, served: bool) -> bool:
        """Note that the broker refused a token; tell whether that is all until its mode changes.

        It is not when its mode has changed since it was asked for: it is asked for anew. A token may be
        `served` all the same, because only its new mode was refused.
        """
        if not served and token in self._sent:
            self._refused.add(token)
            if token in self._changed and token in self._wanted:
                self._adds[token] = None
            self._changed.discard(token)
        return token not in self._adds

    def serves(self, token: Token) -> None:
        """Note that the broker serves a token after all."""
        self._refused.discard(token)

    def refused(self, token: Token) -> bool:
        """Tell whether a token is to be asked for as if it had never been."""
        return token in self._refused

    def next_batch(self, size: int) -> ControlBatch | None:
        """Return up to `size` changes and count them as sent; None when there is nothing to say.

        The caller must send the whole batch or call `reset`.
        """
        if self._drops:
            drops = _take(self._drops, size)
            for token in drops:
                del self._sent[token]
            self._changed.difference_update(drops)
            self._refused.difference_update(drops)
            return ControlBatch(drop=drops)
        adds = _take(self._adds, size)
        if not adds:
            return None
        add: dict[Token, Mode] = {}
        remode: dict[Token, Mode] = {}
        for token in adds:
            known = token in self._sent and token not in self._refused
            (remode if known else add)[token] = self._wanted[token]
        self._sent.update(add)
        self._sent.update(remode)
        self._changed.update(remode)
        self._changed.difference_update(add)
        self._refused.difference_update(add)
        return ControlBatch(add=add, remode=remode)

    def reset(self) -> None:
        """Forget what was sent, because the socket is gone; everything wanted is to be sent again."""
        self._sent.clear()
        self._changed.clear()
        self._refused.clear()
        self._drops.clear()
        self._adds = dict.fromkeys(self._wanted)

    def __repr__(self) -> str:
        return f"<Reconciler wanted {len(self._wanted)} sent {len(self._sent)} pending {self.pending}>"


def _take(queue: dict[Token, None], size: int) -> list[Token]:
    taken = [token for token, _ in zip(queue, range(size), strict=False)]
    for token in taken:
        del queue[token]
    return taken
