"""What several commands share: the options that name the settings, the exit codes, and the opened store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from brokerpool.settings import AccountsSettings, DatabaseSettings, PoolSettings

if TYPE_CHECKING:
    from brokerpool.store.gateway_store import Store

FAULT = 1
SETTINGS_FAULT = 2

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", help="Settings as NAME=value lines; without it .env here, if there is one."),
]
Config = Annotated[Path | None, typer.Option("--config", help="Settings as a TOML file.")]

T = TypeVar("T")


def env_file_or_default(given: Path | None) -> Path | None:
    """Return the file that was given, else `.env` of the working directory, if there is one."""
    default = Path(".env")
    return given or (default if default.is_file() else None)


def warn(settings: PoolSettings) -> None:
    """Tell on stderr what is valid and more than the broker, or that of an account, allows."""
    from brokerpool.brokers import registry

    each = settings.accounts() if isinstance(settings, AccountsSettings) else [settings]
    for limited in each:
        limits = registry.broker(limited.broker).limits
        for warning in limited.warnings(
            symbols_per_connection=limits.symbols_per_connection, max_connections=limits.max_connections
        ):
            typer.echo(f"brokerpool: {warning}", err=True)


def chosen(names: Sequence[str], given: str | None) -> str:
    """Return the account that was given, or the only one there is.

    Raises typer.BadParameter, which lists them, where several are and none was given, or none of that name.
    """
    if given is None and len(names) == 1:
        return names[0]
    if given is None or given not in names:
        what = "say which account" if given is None else "there is no account of this name"
        raise typer.BadParameter(f"{what}: {', '.join(names)}.")
    return given


def run(settings: DatabaseSettings, work: Coroutine[Any, Any, T]) -> T:
    """Run the work to its end on an event loop that the driver of the database can use."""
    # The loop of Windows is none that psycopg takes; the other one watches 512 sockets there at most.
    postgres = settings.database_url.get_secret_value().startswith("postgres")
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop if postgres else None) as runner:
        return runner.run(work)


def with_store(settings: DatabaseSettings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, which upgrades the database, do the work with it, and close it."""
    from brokerpool.store.gateway_store import Store  # `--help` stays quick

    async def opened() -> T:
        async with Store.of(settings) as store:
            return await work(store)

    return run(settings, opened())
