"""Write what follows from the source: `docs/errors.md`, `docs/reference/settings.md` and `.env.example`."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings

from brokerpool.errors import ErrorCode
from brokerpool.settings import (
    AccessSettings,
    BrokerSettings,
    DatabaseSettings,
    Described,
    GatewaySettings,
    HttpSettings,
    PoolSettings,
    describe,
)

ROOT = Path(__file__).resolve().parent.parent
GROUPS: dict[str, type[BaseSettings]] = {
    "The pool": PoolSettings,
    "The broker": BrokerSettings,
    "Calls to the broker": HttpSettings,
    "The gateway": GatewaySettings,
    "Access to the gateway": AccessSettings,
    "The database": DatabaseSettings,
}

ERRORS = """\
<!-- Written by docs/generate.py from src/brokerpool/errors.py; `make docs` writes it again. -->

# Errors

Every error has a code that does not change. In Python it is the `code` of a `BrokerpoolError`; from the
gateway it is the `code` of a reply or of a refused symbol; a command prints it on stderr, followed by what
happened and what to do next.

"""

SETTINGS = """\
<!-- Written by docs/generate.py from src/brokerpool/settings.py; `make docs` writes it again. -->

# Settings

A setting comes from the environment, from the file given with `--env-file` (without it `.env` in the
working directory, where there is one) or from the TOML file given with `--config`; the first of these that
has it wins. The names are the same everywhere; in TOML they stand at the top level. An empty value in the
environment or in the `.env` file counts as not given.

`brokerpool serve` and `brokerpool check` report every fault at once and never show a value. A name that
starts with `BROKERPOOL_` and is not listed here is a fault too, as is any unknown name in the TOML file: it
is nearly always a misspelling.

"""

SETTINGS_END = """\
`MAX_SYMBOLS_PER_WEBSOCKET` and `MAX_WEBSOCKET_CONNECTIONS` may be set above what the broker publishes;
`serve` and `check` then warn, because the broker will refuse what is beyond its limit.

[Market hours](market-hours.md) has the regular hours and the form of `BROKERPOOL_HOLIDAYS_FILE`.
"""

ENV_EXAMPLE = """\
# Every setting of brokerpool with its default. Copy to .env and fill in what has no value.

"""


def pages() -> dict[Path, str]:
    """Return the generated files and their text."""
    return {
        ROOT / "docs" / "errors.md": errors(),
        ROOT / "docs" / "reference" / "settings.md": settings(),
        ROOT / ".env.example": env_example(),
    }


def errors() -> str:
    """Return the error catalogue as a page."""
    return ERRORS + "\n".join(
        f"## {code.name}\n\n{code.cause}\n\nWhat to do: {code.action}\n" for code in ErrorCode
    )


def settings() -> str:
    """Return the reference page of the settings."""
    text = SETTINGS
    for title, group in GROUPS.items():
        text += f"## {title}\n\n{group.__doc__}\n\n"
        text += "| setting | default | allowed | meaning |\n| --- | --- | --- | --- |\n"
        text += "".join(_row(setting) for setting in describe(group)) + "\n"
    return text + SETTINGS_END


def env_example() -> str:
    """Return the example environment file: every setting with its default, secrets left open."""
    text = ENV_EXAMPLE
    for title, group in GROUPS.items():
        text += f"# -- {title} ".ljust(80, "-") + "\n"
        for setting in describe(group):
            text += f"\n# {setting.meaning}\n# Allowed: {setting.allowed}.\n"
            text += f"{setting.name}={setting.default or ''}\n"
        text += "\n"
    return text.rstrip("\n") + "\n"


def _row(setting: Described) -> str:
    default = {None: "must be given", "": "none"}.get(setting.default, f"`{setting.default}`")
    return f"| `{setting.name}` | {default} | {setting.allowed} | {setting.meaning} |\n"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
