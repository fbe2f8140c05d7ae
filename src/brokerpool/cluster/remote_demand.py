"""What a gateway holds, what it has asked feed nodes for, and what those have said to that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from brokerpool.cluster.demand_state import Wanted
from brokerpool.cluster.messages import Decoder, SliceAnswer
from brokerpool.cluster.pending_wants import PendingWants, Want
from brokerpool.cluster.remote_account import RemoteAccount
from brokerpool.cluster.timing import Timing
from brokerpool.errors import BrokerpoolError, ErrorCode, Refused
from brokerpool.feed.demand import Demand
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Answer
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_answer = Decoder(SliceAnswer)


class RemoteDemand:
    """Keeps what each account is wanted to serve in line with what is held and asked for here."""

    def __init__(
        self,
        accounts: Sequence[RemoteAccount],
        timing: Timing,
        listener: PoolListener,
        monotonic: Callable[[], float],
    ) -> None:
        """The listener is told of what was granted and is refused later."""
        #: Who holds what, without wants under way; to be read only.
        self.demand = Demand()
        self._accounts = accounts
        self._timing = timing
        self._listener = listener
        self._monotonic = monotonic
        self._pending = PendingWants()
        #: Of each symbol that is wanted, of which account it is.
        self._homes: dict[Instrument, RemoteAccount] = {}

    def want(self, owner: str, instruments: Sequence[Instrument], mode: Mode, priority: int) -> Answer:
        """Want the instruments in the mode; what is held here in that mode already is granted at once."""
        answer: Answer = asyncio.get_running_loop().create_future()
        wanted = list(dict.fromkeys(instruments))
        want = Want(owner, wanted, mode, priority, answer, self._monotonic() + self._timing.answer)
        self._pending.add(want)
        for instrument in wanted:
            held = self.demand.mode(instrument)
            if held is None or held < mode or self.demand.priority(instrument) < priority:
                want.open[instrument] = 0  # until it is known which version of its slice says so
        self._align(wanted)
        self._grant_whole([want])
        return answer

    def release(self, owner: str, instruments: Sequence[Instrument], modes: Iterable[Mode]) -> int:
        """Give up these modes of what the owner holds; return of how many instruments."""
        modes = tuple(modes)
        given_up = [i for i in instruments if self.demand.release(owner, i, modes)]
        self._align(given_up)
        return len(given_up)

    def give_up(self, instruments: Iterable[Instrument]) -> None:
        """Release these for all owners: the broker does not list them any more."""
        for instrument in instruments:
            for owner in list(self.demand.owners(instrument)):
                self.demand.release(owner, instrument)
            self._align([instrument])

    def home(self, instrument: Instrument) -> RemoteAccount:
        """Return the account of which the instrument is wanted, or would be."""
        home = self._homes.get(instrument)
        if home is None:
            # One that nobody lists is for the first to refuse, whose broker may take it all the same.
            listing = (a for a in self._accounts if a.book.token(instrument) is not None)
            home = next(listing, self._accounts[0])
        return home

    def answered(self, subject: str, payload: bytes) -> None:
        """Take an answer to a slice of what is wanted."""
        answer = _answer(payload)
        account = next((a for a in self._accounts if answer and a.name == answer.account), None)
        if answer is None or account is None or answer.epoch < account.epoch:
            return
        account.answered(answer)
        refused: dict[Instrument, tuple[Mode, Refused]] = {}
        for exchange, symbol, mode, code, message in answer.refused:
            instrument = Instrument(exchange, symbol)
            told = ErrorCode.__members__.get(code, ErrorCode.MAX_CAPACITY_REACHED)
            refused[instrument] = Mode(mode), Refused(instrument, told, message)
        for instrument in account.in_slice(answer.number):
            for want in self._pending.of(instrument):
                if want.open.get(instrument, answer.version + 1) <= answer.version:
                    self._settle(want, instrument, refused.get(instrument))
        self._grant_whole(self._pending.all())
        self._align([i for i in refused if self._homes.get(i) is account])
        lost = [i for i in refused if self.demand.mode(i) is not None and self._homes.get(i) is account]
        for instrument in account.newly_refused(answer.number, lost):
            self._listener.refused([instrument], refused[instrument][1].message)

    def look(self, now: float) -> None:
        """End wants that no feed node has answered in time."""
        for want in self._pending.overdue(now):
            text = f"no feed node has answered for {len(want.open)} symbols within {self._timing.answer:g} s."
            want.fail(BrokerpoolError(text, code=ErrorCode.FEED_UNREACHABLE))
            self._grant(want)
            self._align(want.instruments)

    def close(self, closed: BrokerpoolError) -> None:
        """End all wants with the error."""
        for want in self._pending.all():
            self._pending.over(want)
            want.fail(closed)

    # -- inside -------------------------------------------------------------------------------------------

    def _settle(self, want: Want, instrument: Instrument, refused: tuple[Mode, Refused] | None) -> None:
        if refused is None:
            del want.open[instrument]
        elif want.mode >= refused[0]:
            self._pending.refuse(want, refused[1])
        # Else it was refused in a higher mode, for which somebody else asked: it is asked for again.

    def _grant_whole(self, wants: Iterable[Want]) -> None:
        """Answer those of which nothing is open any more."""
        for want in [want for want in wants if not want.open]:
            self._grant(want)
            want.answer()

    def _grant(self, want: Want) -> None:
        """Have what was accepted held, in the order in which it was wanted."""
        for instrument in want.accepted():
            self.demand.want(want.owner, instrument, want.mode, want.priority)
        self._pending.over(want)

    def _align(self, instruments: Iterable[Instrument]) -> None:
        """Bring what is wanted of the accounts into line with what is held and asked for here."""
        for instrument in instruments:
            held, asked = self.demand.mode(instrument), self._pending.mode(instrument)
            if held is None and asked is None:
                home = self._homes.pop(instrument, None)
                if home is not None:
                    home.drop(instrument)
                continue
            mode = max(held or Mode.LTP, asked or Mode.LTP)
            priorities = [] if held is None else [self.demand.priority(instrument)]
            if asked is not None:
                priorities.append(self._pending.priority(instrument))
            home = self._homes[instrument] = self.home(instrument)
            version = home.want(instrument, Wanted(mode, max(priorities)))
            for want in self._pending.of(instrument):
                if instrument in want.open:
                    want.open[instrument] = version
