"""`brokerpool keys`: the API keys with which clients authenticate at the gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from brokerpool.commands.options import Config, EnvFile, env_file_or_default, with_store
from brokerpool.settings import DatabaseSettings

keys = typer.Typer(name="keys", help="The API keys of the gateway's clients.", no_args_is_help=True)


class ScopeName(Enum):
    """The scopes as arguments."""

    DATA = "data"
    ORDERS = "orders"
    ADMIN = "admin"
    METRICS = "metrics"


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; no two valid keys have the same name.")],
    scope: Annotated[
        list[ScopeName] | None,
        typer.Option(help="What it allows; may be given several times.", show_default="data"),
    ] = None,
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from brokerpool.db.url import shown
    from brokerpool.store.keys import Scope

    scopes = [Scope(given.value) for given in scope or [ScopeName.DATA]]
    settings = _settings(env_file, config)
    try:
        text = with_store(settings, lambda store: store.create_key(name, scopes))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(text)
    where = shown(settings.database_url.get_secret_value())
    typer.echo(f"Keep it now: it cannot be shown again. Its hash is in {where}.", err=True)


@keys.command("list")
def list_(env_file: EnvFile = None, config: Config = None) -> None:
    """Show all keys, revoked ones too."""
    known = with_store(_settings(env_file, config), lambda store: store.list_keys())
    table = Table("name", "scopes", "created", "last used", "revoked")
    for key in known:
        scopes = ", ".join(sorted(scope.value for scope in key.scopes))
        table.add_row(key.name, scopes, _time(key.created_ms), _time(key.last_used_ms), _time(key.revoked_ms))
    Console().print(table)


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The name that the key was made with.")],
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Make a key invalid; a running gateway knows within a second."""
    with_store(_settings(env_file, config), lambda store: store.revoke_key(name))
    typer.echo(f"{name} is revoked.")


def _settings(env_file: EnvFile, config: Config) -> DatabaseSettings:
    return DatabaseSettings.load(env_file=env_file_or_default(env_file), config=config)


def _time(epoch_ms: int | None) -> str:
    if epoch_ms is None:
        return ""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
