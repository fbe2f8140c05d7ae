"""Which gateway a command asks, with which key: from an option, the settings, or a file of the user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from brokerpool.commands.options import env_file_or_default
from brokerpool.settings import GatewaySettings, TargetSettings

#: Where `serve` listens when nobody says otherwise.
DEFAULT_PORT = 5000

Url = Annotated[
    str | None,
    typer.Option(
        help="The gateway's http_url; else BROKERPOOL_GATEWAY_URL, what `stats --save` kept, or this machine."
    ),
]


@dataclass(frozen=True, slots=True)
class Target:
    """One gateway; `repr` shows no key."""

    url: str
    key: str = field(default="", repr=False)
    #: A file of certificates in PEM; empty for those that the system trusts.
    ca: str = ""


def saved_file() -> Path:
    """Return the file in which `stats --save` keeps the target, readable by its owner only."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "brokerpool" / "gateway.env"


def target(url: str | None, env_file: Path | None = None) -> Target:
    """Return the gateway to ask: `url`, else that of the settings, of the kept file, or this machine's.

    A key that was kept or set for one gateway is not shown to another. Raises SettingsError.
    """
    file = env_file_or_default(env_file)
    known = TargetSettings.load(env_file=file)
    if not known.gateway_url and not known.gateway_key.get_secret_value() and saved_file().is_file():
        known = TargetSettings.load(env_file=saved_file(), environ={})
    own = GatewaySettings.load(env_file=file)
    here = f"http://127.0.0.1:{own.http_port or DEFAULT_PORT}"
    chosen = (url or known.gateway_url or here).rstrip("/")
    meant = not known.gateway_url or chosen == known.gateway_url.rstrip("/")
    key = known.gateway_key.get_secret_value() if meant else ""
    return Target(chosen, key or own.api_key.get_secret_value(), known.gateway_ca if meant else "")


def save(wanted: Target) -> Path:
    """Keep the target for the next command, and return the file, which nobody else may read."""
    file = saved_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    next_ = file.with_suffix(".next")
    next_.unlink(missing_ok=True)
    lines = {
        "BROKERPOOL_GATEWAY_URL": wanted.url,
        "BROKERPOOL_GATEWAY_KEY": wanted.key,
        "BROKERPOOL_GATEWAY_CA": str(Path(wanted.ca).absolute()) if wanted.ca else "",
    }
    descriptor = os.open(next_, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as text:
        text.writelines(f"{name}={_quoted(value)}\n" for name, value in lines.items() if value)
    next_.replace(file)  # whole, or as it was
    return file


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
