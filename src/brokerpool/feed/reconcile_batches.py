"""What one socket must still be told: the difference between what is wanted and what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brokerpool.brokers.capacity import Capacity
from brokerpool.brokers.wire import ControlBatch
from brokerpool.instruments import Token
from brokerpool.ticks import Mode


class Reconciler:
    """Turns changes of demand into batches, and a new socket into the same batches again.

    `sent` never goes above what was wanted at some moment of this socket's life: all drops leave before
    any add, so that a place is free at the broker before it is taken again. Where the broker's rule tells
    modes apart a batch is of one kind, and holds as many changes as fit one after the other, so that `sent`
    keeps to the rule with each of them. What is wanted must always fit.
    """

    def __init__(self, rule: Capacity | None = None) -> None:
        """`rule` is the broker's; without one, modes are not told apart."""
        self._rule = rule if rule is not None and rule.by_mode else None
        self._wanted: dict[Token, Mode] = {}
        self._sent: dict[Token, Mode] = {}
        self._drops: dict[Token, None] = {}  # dicts keep the order of the requests
        self._adds: dict[Token, None] = {}
        #: What was sent and has changed its mode since, with the mode before: a refusal may be about either.
        self._changed: dict[Token, Mode] = {}
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
        before = self._changed.pop(token, None)
        if served and before is not None:
            self._sent[token] = before
        elif not served and token in self._sent:
            self._refused.add(token)
            if before is not None and token in self._wanted:
                self._adds[token] = None
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
            return self._dropped(_take(self._drops, size))
        if self._rule is not None and self._adds:
            return self._fitting(self._rule, size)
        adds = _take(self._adds, size)
        if not adds:
            return None
        add: dict[Token, Mode] = {}
        remode: dict[Token, Mode] = {}
        for token in adds:
            (add if self._served(token) is None else remode)[token] = self._wanted[token]
        return self._asked(add, remode)

    def _fitting(self, rule: Capacity, size: int) -> ControlBatch | None:
        """Return changes of one kind, as many as fit; where none does, drop some tokens to add them again.

        None when that is not possible either: the broker goes on with something in a mode that it was to
        leave.
        """
        kinds: dict[tuple[Mode | None, Mode], list[Token]] = {}
        for token in self._adds:
            kinds.setdefault((self._served(token), self._wanted[token]), []).append(token)
        served = [mode for token, mode in self._sent.items() if token not in self._refused]
        carried = [0, *(served.count(mode) for mode in Mode)]
        # Modes that fall first, then those that rise, which may need what falls, then new tokens.
        for old, new in sorted(kinds, key=lambda kind: (kind[0] is None, kind[1] > (kind[0] or 0))):
            tokens = kinds[old, new][:size]
            fitting = rule.room(carried, new) if old is None else _steps(rule, carried, old, new, len(tokens))
            changes = dict.fromkeys(tokens[:fitting], new)
            if changes:
                for token in changes:
                    del self._adds[token]
                return self._asked(changes, {}) if old is None else self._asked({}, changes)
        # Each of them waits for another one's place: the smallest kind makes room.
        stuck = min((tokens for (old, _), tokens in kinds.items() if old is not None), key=len, default=None)
        return None if stuck is None else self._dropped(stuck[:size])

    def _served(self, token: Token) -> Mode | None:
        """Return the mode in which the broker serves a token, None when it does not, as far as is known."""
        return None if token in self._refused else self._sent.get(token)

    def _asked(self, add: dict[Token, Mode], remode: dict[Token, Mode]) -> ControlBatch:
        self._changed.update((token, self._sent[token]) for token in remode)
        self._sent.update(add)
        self._sent.update(remode)
        _forget(self._changed, add)
        self._refused.difference_update(add)
        return ControlBatch(add=add, remode=remode)

    def _dropped(self, tokens: list[Token]) -> ControlBatch:
        for token in tokens:
            del self._sent[token]
        _forget(self._changed, tokens)
        self._refused.difference_update(tokens)
        return ControlBatch(drop=tokens)

    def reset(self) -> None:
        """Forget what was sent, because the socket is gone; everything wanted is to be sent again."""
        self._sent.clear()
        self._changed.clear()
        self._refused.clear()
        self._drops.clear()
        self._adds = dict.fromkeys(self._wanted)

    def __repr__(self) -> str:
        return f"<Reconciler wanted {len(self._wanted)} sent {len(self._sent)} pending {self.pending}>"


def _steps(rule: Capacity, carried: list[int], old: Mode, new: Mode, most: int) -> int:
    """Return how many tokens may go from one mode to another, one after the other."""
    after = list(carried)
    for done in range(most):
        after[old] -= 1
        after[new] += 1
        if not rule.fits(after):
            return done
    return most


def _forget(changed: dict[Token, Mode], tokens: Iterable[Token]) -> None:
    for token in tokens:
        changed.pop(token, None)


def _take(queue: dict[Token, None], size: int) -> list[Token]:
    taken = [token for token, _ in zip(queue, range(size), strict=False)]
    for token in taken:
        del queue[token]
    return taken
