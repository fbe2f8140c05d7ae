"""`brokerpool login`: today's credentials at the broker, into the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brokerpool.commands.options import Config, EnvFile, env_file_or_default, with_store
from brokerpool.settings import DatabaseSettings, PoolSettings

_LONGEST = 4096  # bytes of an access token; a larger file is something else


def login(
    file: Annotated[
        Path | None,
        typer.Option(help="A file that holds the access token and nothing else; without it one is asked."),
    ] = None,
    env_file: EnvFile = None,
    config: Config = None,
) -> None:
    """Store the access token of a new login at the broker, encrypted; a running gateway takes it over.

    The token is read from a file or from a prompt that does not show it: arguments are visible to every user
    of the machine.
    """
    from brokerpool.brokers.login import Credentials
    from brokerpool.db.vault import Vault

    given = env_file_or_default(env_file)
    settings = DatabaseSettings.load(env_file=given, config=config)
    broker = PoolSettings.load(env_file=given, config=config).broker
    Vault(settings.secret_key.get_secret_value())  # before anybody types a token in vain
    credentials = Credentials(_token(file, broker))
    version = with_store(settings, lambda store: store.save_login(broker, credentials))
    typer.echo(f"Login {version} of {broker} is stored.")


def _token(file: Path | None, broker: str) -> str:
    if file is None:
        text = str(typer.prompt(f"Access token of {broker}", hide_input=True, err=True))
    else:
        try:
            with file.open("rb") as lines:
                text = lines.read(_LONGEST + 1).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{file} cannot be read: {type(error).__name__}.") from None
    token = text.strip()
    if not token or len(text) > _LONGEST or any(part.isspace() for part in token):
        raise typer.BadParameter("this is no access token: it must be one word of at most 4096 characters.")
    return token
