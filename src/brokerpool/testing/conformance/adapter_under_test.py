"""What the author of an adapter gives to the conformance kit."""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from importlib import resources
from random import Random
from typing import Any

from brokerpool.brokers.account import Account
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.wire import Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.testing.scenario import Stage, stage
from brokerpool.testing.virtual_loop import run
from brokerpool.testing.wire_dialect import Dialect, Message, Quote
from brokerpool.ticks import Mode, Tick

#: So many of the account's instruments play.
_PLAYERS = 12
#: Epoch milliseconds of every tick and arrival that is read without a pool.
NOW_MS = 1_767_587_400_000


class Subject:
    """The adapter, and the broker's side of its wire; inherited by whoever is to be tested."""

    #: The login of the day after; of the shape that the adapter takes.
    next_login = Credentials("conformance-next-token")
    #: What must not be shown besides the access token: a key, a password.
    secrets: Sequence[str] = ()
    #: Examples that hypothesis makes for each promise about random messages.
    examples = 100

    def account(self) -> Account:
        """Return a new account with at least 4 instruments in its book, and an access token of its own.

        It must need no network: what it would fetch is given to it.
        """
        raise NotImplementedError

    def dialect(self) -> Dialect:
        """Return the broker's side of a new socket."""
        raise NotImplementedError

    def said(self, credentials: Credentials) -> str:
        """Return the token that is said to the feed: the access token, where it has none of its own."""
        return credentials.access_token

    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        """Return each figure with value, source and date; those of the package's `limits.toml`, usually."""
        return self._limits_file()["websocket"]

    def capacity_table(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the same for what modes take of a socket; empty where they count alike."""
        return self._limits_file().get("capacity", {})

    def _limits_file(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        package = type(self.account()).__module__.rpartition(".")[0]
        file = resources.files(package).joinpath("limits.toml") if package else None
        return tomllib.loads(file.read_text("utf-8")) if file is not None and file.is_file() else {}

    # -- for the promises ---------------------------------------------------------------------------------

    def players(self, account: Account) -> dict[Token, Instrument]:
        """Return some instruments by their tokens."""
        listed = [(token, i) for i in account.book if (token := account.book.token(i)) is not None]
        assert len(listed) >= 4, f"{account!r} lists {len(listed)} instruments; give it 4 at least"
        return dict(listed[:_PLAYERS])

    def samples(self) -> list[Message]:
        """Return at least one message of each kind that the broker sends."""
        dialect, tokens = self.dialect(), list(self.players(self.account()))
        messages = [
            message
            for mode in dialect.modes
            for quotes in ([Quote(tokens[0], mode, 100)], [Quote(token, mode, 7) for token in tokens])
            for message in dialect.ticks(quotes, NOW_MS)
        ]
        said = (dialect.heartbeat(), dialect.ready(), dialect.login_refused(), dialect.refused(tokens, "no"))
        return [*messages, *(message for message in said if message is not None), *dialect.samples.values()]

    def rehearse(self, scenario: Callable[[Stage[Account]], Awaitable[None]], **broker: object) -> None:
        """Play a scenario in virtual time on two sockets, where the broker allows two."""

        async def main() -> None:
            account = self.account()
            sockets = min(2, account.limits.max_connections)
            size = min(account.limits.symbols_per_connection, -(-len(self.players(account)) // sockets))
            async with stage(
                account,
                self.dialect,
                random=Random(1),
                max_symbols=size,
                max_connections=sockets,
                broker={"token": self.said(account.login.credentials), **broker},
            ) as scene:
                await scenario(scene)
                faults = scene.pool.get_pool_stats()["websocket"]["faults"]
                assert not faults, f"the adapter raised: {faults}"

        run(main)

    async def all_live(self, scene: Stage[Account]) -> list[Instrument]:
        """Subscribe the players in all modes, and return them once they are live."""
        instruments = list(self.players(scene.feed).values())
        for n, instrument in enumerate(instruments):
            mode = tuple(Mode)[n % len(Mode)]
            scene.pool.subscribe(instrument, mode, owner="conformance", partial=True)
        await scene.until(scene.all_live, 120, "every symbol live")
        return list(scene.pool.demand.instruments())


def read(wire: Wire, message: Message, routes: Mapping[Token, Instrument]) -> list[Tick]:
    """Have the wire read a message of either kind."""
    if isinstance(message, str):
        return wire.text(message, routes, NOW_MS)
    return wire.binary(message, routes, NOW_MS)


def is_dated(figure: Mapping[str, Any]) -> bool:
    """Tell whether a figure of a limits table has its source and its day."""
    return bool(str(figure.get("source", "")).strip()) and isinstance(figure.get("date"), date)
