"""`brokerpool accounts`: which feed node of a cluster holds which account, and moving one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from brokerpool.commands.options import FAULT, Config, EnvFile, env_file_or_default
from brokerpool.errors import SettingsError
from brokerpool.settings import ClusterSettings

if TYPE_CHECKING:
    from brokerpool.cluster.bus import Bus
    from brokerpool.cluster.nodes_and_holders import Directory

#: What the signs of all who live take to come: two of a feed node's, one of a gateway's.
LOOK_SECONDS = 1.2
#: What a move may take: where there is room, the successor's sockets are live before the others close.
MOVE_SECONDS = 30.0

accounts = typer.Typer(
    help="Show the accounts of a cluster, and move them between its feed nodes.", invoke_without_command=True
)


@accounts.callback()
def _accounts(context: typer.Context, env_file: EnvFile = None, config: Config = None) -> None:
    """Show which feed node holds which account of the cluster at BROKERPOOL_NATS_URL."""
    if context.invoked_subcommand is None:
        _with_directory(env_file, config, _show)


@accounts.command("move")
def _move(
    account: Annotated[str, typer.Argument(help="The account.")],
    node: Annotated[str, typer.Argument(help="The feed node that is to hold it.")],
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Have an account held by one feed node for as long as that lives, and wait until it is."""
    _with_directory(env_file, config, lambda bus, directory: _moved(bus, directory, account, node))


@accounts.command("release")
def _release(
    account: Annotated[str, typer.Argument(help="The account.")],
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Take a move back: any feed node may hold the account again; it stays where it is for now."""
    _with_directory(env_file, config, lambda bus, directory: _released(bus, account))


async def _show(bus: Bus, directory: Directory) -> None:
    table = Table("account", "held by", "epoch", "renewed", "can be held by", title="Accounts")
    for holder in directory.holders():
        able = [node for node, known in directory.nodes.items() if holder.account in known]
        table.add_row(
            holder.account,
            (holder.node or "nobody")
            + (f" (to be {holder.wish})" if holder.wish not in ("", holder.node) else ""),
            str(holder.epoch),
            "" if holder.age is None else f"{holder.age:.1f} s ago",
            ", ".join(able),
        )
    console = Console()
    console.print(table)
    console.print(f"{len(directory.nodes)} feed nodes and {len(directory.gateways)} gateways live.")


async def _moved(bus: Bus, directory: Directory, account: str, node: str) -> None:
    from brokerpool.cluster.subjects import NODES, wish_key

    able = [name for name, known in directory.nodes.items() if account in known]
    if node not in able:
        _fail(f"no feed node {node} lives that can hold {account}; these can: {', '.join(able) or 'none'}")
    await bus.store(NODES).put(wish_key(account), node.encode())
    try:
        async with asyncio.timeout(MOVE_SECONDS):
            # The nodes settle it among themselves.
            while not any(h.account == account and h.node == node for h in directory.holders()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        _fail(f"{node} does not hold {account} after {MOVE_SECONDS:g} s; the wish stays")
    typer.echo(f"{node} holds {account}.")


async def _released(bus: Bus, account: str) -> None:
    from brokerpool.cluster.subjects import NODES, wish_key

    await bus.store(NODES).delete(wish_key(account))
    typer.echo(f"Any feed node may hold {account}.")


def _with_directory(
    env_file: Path | None, config: Path | None, work: Callable[[Bus, Directory], Awaitable[None]]
) -> None:
    """Do the work in the cluster of the settings, once all who live have given a sign.

    Raises SettingsError where there is no cluster, and BusError.
    """
    settings = ClusterSettings.load(env_file=env_file_or_default(env_file), config=config)
    if not settings.in_cluster:
        raise SettingsError("BROKERPOOL_NATS_URL is not set; there is no cluster.")
    asyncio.run(_work(settings, work))


async def _work(settings: ClusterSettings, work: Callable[[Bus, Directory], Awaitable[None]]) -> None:
    from brokerpool.cluster.nats_bus import NatsBus
    from brokerpool.cluster.nodes_and_holders import Directory

    bus = NatsBus(settings, "brokerpool accounts")
    await bus.open()
    directory = Directory(bus)
    try:
        directory.start()
        await directory.accounts(LOOK_SECONDS * 4)
        await asyncio.sleep(LOOK_SECONDS)
        await work(bus, directory)
    finally:
        directory.close()
        await bus.close()


def _fail(message: str) -> NoReturn:
    typer.echo(f"brokerpool: {message}", err=True)
    raise typer.Exit(FAULT)
