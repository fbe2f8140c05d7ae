"""The promises of an adapter that are kept without a pool: limits, requests, ticks, signals, any bytes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from urllib.parse import unquote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerpool.brokers.account import Account, DialRefusal
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.wire import Farewell, MessageRun, Signal, SignalKind, Wire
from brokerpool.feed.incoming_messages import SMALL_BYTES
from brokerpool.feed.reconcile_batches import Reconciler
from brokerpool.instruments import Token
from brokerpool.testing.conformance.adapter_under_test import NOW_MS, Subject, is_dated, read
from brokerpool.testing.virtual_loop import run
from brokerpool.testing.wire_dialect import Dialect, Message, Quote, served_mode
from brokerpool.ticks import Mode, Tick
from brokerpool.transport.frames import BINARY, server_frame

#: Ticks of one part of a long message; the contract says 250 or so.
_MOST_IN_PART = 1000


class WirePromises(Subject):
    """What can be tried on the account and its wire alone."""

    def test_limits_cite_their_source_and_date(self) -> None:
        table, capacity = self.limits_table(), self.capacity_table()
        bare = [name for name, figure in (*table.items(), *capacity.items()) if not is_dated(figure)]
        assert not bare, f"limits without a source or a date: {', '.join(bare)}"
        told = FeedLimits.parse(table, capacity)
        assert told == self.account().limits, "the account has other limits than its table"

    def test_each_socket_has_a_wire_of_its_own(self) -> None:
        account = self.account()
        one, other = account.wire(), account.wire()
        assert one is not other, "two sockets share a wire"
        shared = [n for n in ("signals", "skipped") if getattr(one, n) is getattr(other, n)]
        assert not shared, f"two wires share {', '.join(shared)}"

    def test_the_present_login_is_used_for_each_socket(self) -> None:
        account = self.account()
        token, following = self.said(account.login.credentials), self.said(self.next_login)
        assert token in _said(account), "the login stands neither in the endpoint nor in the hello"
        account.login.renew(self.next_login)
        said = _said(account)
        assert following in said, "a new login is not used for the next socket"
        assert token not in said, "the old login is used for the next socket"

    def test_requests_lead_the_broker_to_what_is_wanted(self) -> None:
        tokens = list(self.players(self.account()))
        wishes = st.dictionaries(st.sampled_from(tokens), st.none() | st.sampled_from(list(Mode)))

        @self._tried
        @given(st.lists(wishes, max_size=6))
        def leads(steps: list[dict[Token, Mode | None]]) -> None:
            self._follow(steps)

        leads()

    def _follow(self, steps: list[dict[Token, Mode | None]]) -> None:
        account, dialect, targets = self.account(), self.dialect(), Reconciler()
        wire, limits, served = account.wire(), account.limits, dict[Token, Mode]()
        for step in steps:
            for token, mode in step.items():
                if mode is None:
                    targets.drop(token)
                else:
                    targets.want(token, mode)
            while (batch := targets.next_batch(limits.batch_size)) is not None:
                for message in wire.requests(batch):
                    _serve(dialect, message, served, limits)
            due = {token: served_mode(dialect, mode) for token, mode in targets.wanted.items()}
            assert served == due, f"wanted is {due}, and asked for {served}"

    def test_each_mode_brings_its_tick(self) -> None:
        account, dialect = self.account(), self.dialect()
        routes, wire = self.players(account), account.wire()
        for mode in dialect.modes:
            for price, (token, instrument) in enumerate(routes.items(), 101):
                messages = dialect.ticks([Quote(token, mode, price)], NOW_MS)
                ticks = [tick for message in messages for tick in read(wire, message, routes)]
                got = [(tick.instrument, tick.ltp, tick.mode) for tick in ticks]
                assert got == [(instrument, price, mode)], (
                    f"{instrument} at {price} in {mode!r} is read as {got}"
                )
                assert ticks[0].timestamp == NOW_MS, f"a tick of {NOW_MS} ms is told as {ticks[0].timestamp}"

    def test_what_nobody_asked_for_is_no_tick(self) -> None:
        account, dialect = self.account(), self.dialect()
        (token, instrument), *others = self.players(account).items()
        wire, routes = account.wire(), {token: instrument}
        quotes = [Quote(other, mode, 5) for other, _ in others for mode in dialect.modes]
        ticks = [tick for m in dialect.ticks(quotes, NOW_MS) for tick in read(wire, m, routes)]
        assert not ticks, f"ticks of symbols that are not subscribed are passed on: {ticks[:3]}"

    def test_a_long_message_reads_the_same_in_parts(self) -> None:
        account, dialect = self.account(), self.dialect()
        routes, whole, cut = self.players(account), account.wire(), account.wire()
        tokens = list(routes)
        for mode in dialect.modes:
            quotes = [Quote(tokens[n % len(tokens)], mode, n + 1) for n in range(3000)]
            for message in dialect.ticks(quotes, NOW_MS):
                if len(message) <= SMALL_BYTES:
                    continue
                parts = [read(cut, _of_kind(part), routes) for part in cut.parts(message)]
                ticks = [tick for part in parts for tick in part]
                assert ticks == read(whole, message, routes), "a long message reads otherwise in parts"
                most = max(map(len, parts))
                assert most <= _MOST_IN_PART, f"a part of a long message has {most} ticks; 250 are right"

    def test_messages_that_are_read_together_read_the_same_as_alone(self) -> None:
        account = self.account()
        routes, samples = self.players(account), [s for s in self.samples() if isinstance(s, bytes)]
        for size in account.wire().run_sizes:
            of_size = [sample for sample in samples if len(sample) == size]
            assert of_size, f"no message of the broker's has the {size} bytes that the wire reads together"
            message = st.sampled_from(of_size)
            any_bytes = st.binary(min_size=size, max_size=size)

            @self._tried
            @given(
                st.lists(
                    message | st.builds(_changed, message, st.randoms()) | any_bytes, min_size=1, max_size=6
                )
            )
            def reads(messages: list[bytes]) -> None:
                together, alone = account.wire(), account.wire()
                ticks = together.run(_run_of(messages), routes, NOW_MS)
                single = [tick for message in messages for tick in read(alone, message, routes)]
                assert ticks == single, f"{messages!r} are read as {ticks}, one by one as {single}"
                for what in ("skipped", "signals"):
                    told, due = getattr(together, what), getattr(alone, what)
                    assert told == due, f"{what} are {told} after {messages!r}, one by one {due}"

            reads()

    def test_what_the_broker_says_besides_ticks_is_a_signal(self) -> None:
        account, dialect = self.account(), self.dialect()
        routes, wire = self.players(account), account.wire()
        said = {SignalKind.READY: dialect.ready(), **dialect.samples}
        if dialect.ready() is not None:
            said[SignalKind.LOGIN_REFUSED] = dialect.login_refused()
        for kind, message in said.items():
            if message is not None:
                signals = _signals(wire, message)
                assert kind in [s.kind for s in signals], f"{message!r} is {signals} and not {kind}"
        token, reason = next(iter(routes)), "not in your plan"
        refusal = dialect.refused([token], reason)
        if refusal is not None:
            named = [(s.kind, list(s.tokens)) for s in _signals(wire, refusal)]
            assert (SignalKind.REFUSED, [token]) in named, f"{refusal!r} does not name {token!r}: {named}"

    def test_signs_of_life_are_what_each_side_takes_for_them(self) -> None:
        account, dialect = self.account(), self.dialect()
        wire, routes = account.wire(), self.players(account)
        before = dict(wire.skipped)
        if (theirs := dialect.heartbeat()) is not None:
            assert read(wire, theirs, routes) == [], "the broker's sign of life is read as a tick"
            assert wire.skipped == before, f"the broker's sign of life is skipped: {wire.skipped}"
            kinds = {signal.kind for signal in wire.signals}
            assert SignalKind.UNKNOWN not in kinds, "the broker's sign of life is not known"
        ours = wire.heartbeat()
        if account.limits.heartbeat_seconds:
            assert ours, "the broker wants signs of life, and the wire has none"
            assert dialect.read(ours).heartbeat, f"the broker takes {ours!r} for no sign of life"
        else:
            assert not ours, "the wire has a sign of life; say in the limits how often the broker wants it"

    def test_no_message_makes_the_wire_raise(self) -> None:
        account, samples = self.account(), self.samples()
        routes = self.players(account)
        whole = st.binary(max_size=200) | st.text(max_size=100) | st.sampled_from(samples)
        nested = st.sampled_from(["[" * 5000, '{"a":' * 3000, "\ud800", "NaN", "1e999", "{}", "[]", "null"])
        messages = whole | nested | st.builds(_mutated, st.sampled_from(samples), st.randoms())

        @self._tried
        @given(st.lists(messages, max_size=5))
        def reads(said: list[Message]) -> None:
            wire, dialect = account.wire(), self.dialect()
            for message in said:
                _check(wire, message, read(wire, message, routes), set(routes.values()))
                for part in wire.parts(message):
                    read(wire, _of_kind(part), routes)
            token = next(iter(routes))
            good = dialect.ticks([Quote(token, max(dialect.modes), 55)], NOW_MS)
            ticks = [tick for message in good for tick in read(wire, message, routes)]
            assert [tick.ltp for tick in ticks] == [55], f"after {said!r} a good tick is read as {ticks}"

        reads()

    def test_no_end_and_no_refused_dial_makes_the_adapter_raise(self) -> None:
        account = self.account()

        @self._tried
        @given(st.integers(0, 65_535), st.text(max_size=123), st.none() | st.integers(100, 999))
        def classifies(code: int, reason: str, status: int | None) -> None:
            farewell = account.wire().farewell(code, reason)
            assert isinstance(farewell, Farewell), f"a farewell is told as {farewell!r}"
            refusal = account.refused(status)
            assert isinstance(refusal, DialRefusal), f"a refused dial is told as {refusal!r}"

        classifies()

    def _tried(self, test: Callable[..., None]) -> Callable[[], None]:
        tried = settings(
            max_examples=self.examples,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
        )
        return tried(test)


def _said(account: Account) -> str:
    """Return all that a new socket of the account says of its login."""
    endpoint = run(account.endpoint)
    hello = [m if isinstance(m, str) else m.decode("latin-1") for m in account.wire().hello()]
    return unquote(" ".join((endpoint.url, *endpoint.headers.values(), *hello)))


def _serve(dialect: Dialect, message: Message, served: dict[Token, Mode], limits: FeedLimits) -> None:
    """Do at the broker's side what a message asks for."""
    heard = dialect.read(message)
    named = len(heard.drop) + len(heard.add) + len(heard.remode)
    assert 0 < named <= limits.batch_size, f"{message!r} names {named} tokens, of {limits.batch_size} at most"
    for token in heard.drop:
        assert served.pop(token, None) is not None, f"{token!r} is dropped and was never asked for"
    served.update(heard.add)
    for token, mode in heard.remode.items():
        assert token in served, f"{token!r} changes its mode and was never asked for"
        served[token] = mode
    counts = [0, 0, 0, 0]
    for mode in served.values():
        counts[mode] += 1
    assert limits.capacity.fits(counts), f"{len(served)} symbols are asked for, by mode {counts[1:]}"


def _signals(wire: Wire, message: Message) -> list[Signal]:
    wire.signals.clear()
    read(wire, message, {})
    return list(wire.signals)


def _of_kind(part: Message | memoryview) -> Message:
    return bytes(part) if isinstance(part, memoryview) else part


def _mutated(message: Message, random: Random) -> Message:
    """Return the message with a few of its parts doubled, moved or cut out."""
    for _ in range(random.randint(1, 4)):
        begin, end = sorted(random.randint(0, len(message)) for _ in range(2))
        again, count = random.randint(0, len(message)), random.randint(0, 2)
        if isinstance(message, str):
            message = message[:begin] + message[again : again + 3] * count + message[end:]
        else:
            message = message[:begin] + message[again : again + 3] * count + message[end:]
    return message


def _run_of(messages: list[bytes]) -> MessageRun:
    frames = [server_frame(message, BINARY) for message in messages]
    size = len(messages[0])
    return MessageRun(memoryview(b"".join(frames)), len(frames[0]) - size, size)


def _changed(message: bytes, random: Random) -> bytes:
    """Return the message with a few of its bytes replaced."""
    changed = bytearray(message)
    for _ in range(random.randint(1, 4)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _check(wire: Wire, message: Message, ticks: object, instruments: set[object]) -> None:
    assert isinstance(ticks, list), f"{message!r} is read as {ticks!r}"
    strangers = [t for t in ticks if not isinstance(t, Tick) or t.instrument not in instruments]
    assert not strangers, f"{message!r} is read as {strangers}, which nobody asked for"
    assert all(isinstance(signal, Signal) for signal in wire.signals), f"{wire.signals} are no signals"
    assert all(isinstance(count, int) for count in wire.skipped.values()), f"skipped is {wire.skipped}"
