"""`brokerpool db`: the schema and the health of the database."""

from __future__ import annotations

import asyncio

import typer

from brokerpool.commands.options import SETTINGS_FAULT, Config, EnvFile, env_file_or_default
from brokerpool.settings import DatabaseSettings

db = typer.Typer(name="db", help="The gateway's database.", no_args_is_help=True)


@db.command()
def upgrade(env_file: EnvFile = None, config: Config = None) -> None:
    """Bring the database to the schema that this version needs; `serve` does the same when it starts."""
    from brokerpool.store.checkup import upgraded

    settings = _settings(env_file, config)
    before, after = asyncio.run(upgraded(settings))
    if before == after:
        typer.echo(f"{_shown(settings)} has revision {after}; nothing was to be done.")
    else:
        typer.echo(f"{_shown(settings)} went from revision {before or 'none'} to {after}.")


@db.command()
def check(env_file: EnvFile = None, config: Config = None) -> None:
    """Look whether the database answers, can be written, is whole and up to date, and its logins open.

    Changes nothing. Lists all faults and exits with 2 if there are any.
    """
    from brokerpool.store.checkup import faults

    settings = _settings(env_file, config)
    found = asyncio.run(faults(settings))
    for fault in found:
        typer.echo(f"brokerpool: {fault}", err=True)
    if found:
        raise typer.Exit(SETTINGS_FAULT)
    typer.echo(f"{_shown(settings)} answers, can be written, is whole and up to date, and its logins open.")


def _settings(env_file: EnvFile, config: Config) -> DatabaseSettings:
    return DatabaseSettings.load(env_file=env_file_or_default(env_file), config=config)


def _shown(settings: DatabaseSettings) -> str:
    from brokerpool.db.url import shown

    return shown(settings.database_url.get_secret_value())
