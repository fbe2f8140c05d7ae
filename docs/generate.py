"""Write what follows from the source: the pages of errors, settings and statistics, and `.env.example`."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings

from brokerpool import errors as exceptions
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.monitor.metric_vocabulary.field_descriptions import SECTIONS
from brokerpool.monitor.stats import Field
from brokerpool.settings import (
    AccessSettings,
    AccountSettings,
    BrokerSettings,
    ClusterSettings,
    DatabaseSettings,
    Described,
    EgressSettings,
    GatewaySettings,
    HttpSettings,
    OrderSettings,
    PoolSettings,
    SeveralAccounts,
    TargetSettings,
    describe,
)

ROOT = Path(__file__).resolve().parent.parent
GROUPS: dict[str, type[BaseSettings]] = {
    "The pool": PoolSettings,
    "The broker": BrokerSettings,
    "Several accounts": SeveralAccounts,
    "The way to the broker": EgressSettings,
    "Calls to the broker": HttpSettings,
    "The gateway": GatewaySettings,
    "Access to the gateway": AccessSettings,
    "Orders": OrderSettings,
    "The database": DatabaseSettings,
    "Many machines": ClusterSettings,
    "The gateway that commands ask": TargetSettings,
}

ERRORS = """\
<!-- Written by docs/generate.py from src/brokerpool/error_catalogue.toml; `make docs` writes it again. -->

# Errors

Every error has a code that does not change. In Python it is the `code` of a `BrokerpoolError`; from the
gateway it is the `code` of a reply or of a refused symbol; a command prints it on stderr, followed by what
happened and what to do next.

"""

EXCEPTIONS = """\
<!-- Written by docs/generate.py from src/brokerpool/errors.py; `make docs` writes it again. -->

# Exceptions

Everything that the library raises of its own is a `BrokerpoolError` with a `code`, which
[the catalogue](../errors.md) explains. A wrong argument is Python's `TypeError` or `ValueError`, a call that
needs an event loop where none runs a `RuntimeError`; nothing was changed or sent then.

"""

SETTINGS = """\
<!-- Written by docs/generate.py from src/brokerpool/settings; `make docs` writes it again. -->

# Settings

A setting comes from the environment, from the file given with `--env-file` (without it `.env` in the
working directory, where there is one) or from the TOML file given with `--config`; the first of these that
has it wins. The names are the same everywhere; in TOML they stand at the top level. An empty value in the
environment or in the `.env` file counts as not given.

`brokerpool serve` and `brokerpool check` report every fault at once and never show a value. A name that
starts with `BROKERPOOL_` and is not listed here is a fault too, as is any unknown name in the TOML file: it
is nearly always a misspelling.

"""

ACCOUNTS = """\
What belongs to one account stands in a table of the TOML file, with `[[accounts]]` above it, or under a name
of its own in the environment: BROKERPOOL_ACCOUNT_, the account's name in capital letters with `_` for `-`,
and the member, as in `BROKERPOOL_ACCOUNT_DESK_2_API_KEY`. What stands in the environment goes before the same
member of a table, so that a table may leave its secrets to the environment. Beside accounts,
`BROKERPOOL_BROKER` and the settings of [the broker](#the-broker) are a fault; those of the pool hold for each
account's pool. [Two brokers](../how-to/two-brokers.md) has it step by step.

"""

ACCOUNT_EXAMPLE = """\
# With BROKERPOOL_ACCOUNTS=zerodha,desk-2 each has settings of its own; those of the broker above stay out.
# BROKERPOOL_ACCOUNT_ZERODHA_API_KEY=
# BROKERPOOL_ACCOUNT_DESK_2_BROKER=zerodha
# BROKERPOOL_ACCOUNT_DESK_2_API_KEY=

"""

SETTINGS_END = """\
`MAX_SYMBOLS_PER_WEBSOCKET` and `MAX_WEBSOCKET_CONNECTIONS` lower what the broker publishes. Above it
`serve` and `check` warn, and the broker's limit holds.

[Market hours](market-hours.md) has the regular hours and the form of `BROKERPOOL_HOLIDAYS_FILE`.
"""

STATISTICS = """\
<!-- Written by docs/generate.py from monitor/metric_vocabulary; `make docs` writes it again. -->

# Statistics

The gateway's `/stats` returns all of these as JSON, `/metrics` those with a metric in the text format of
Prometheus; `pool.get_pool_stats()` and `client.stats()` of the library return the sections of their pool.
How to have them watched is told in the [runbook](../how-to/runbook.md).

A gauge goes up and down, a counter only up from 0 at the start. A histogram is an object with `count`,
`sum`, and in `buckets` for each upper bound the number in this bucket alone; in `/metrics` the buckets add
up, as Prometheus wants it. A text with few possible words is one metric for each word, 1 for the present one,
with the word in the label `state`. A true is 1. What is null is left out of `/metrics`.

In a member's name, `[x]` is a list whose items have the label `x` as `name`; in `[x y]` they have `y` as a
second label, which is a member of that name. `{x}` is an object with `x` as keys. Labels are names of
accounts, connections, hosts, lanes, groups and the like; no symbol and no client is ever a label, so the
number of time series stays small.

"""

ENV_EXAMPLE = """\
# Every setting of brokerpool with its default. Copy to .env and fill in what has no value.

"""


def pages() -> dict[Path, str]:
    """Return the generated files and their text."""
    return {
        ROOT / "docs" / "errors.md": errors(),
        ROOT / "docs" / "reference" / "exceptions.md": exception_tree(),
        ROOT / "docs" / "reference" / "settings.md": settings(),
        ROOT / "docs" / "reference" / "statistics.md": statistics(),
        ROOT / ".env.example": env_example(),
    }


def errors() -> str:
    """Return the error catalogue as a page."""
    return ERRORS + "\n".join(
        f"## {code.name}\n\n{code.cause}\n\n"
        f"What brokerpool did: {code.response}\n\nWhat to do: {code.action}\n"
        for code in ErrorCode
    )


def exception_tree() -> str:
    """Return the classes as a tree, each with its promise, and the code where it has only one."""
    return (
        EXCEPTIONS
        + "| class | its code | what it says |\n| --- | --- | --- |\n"
        + _branch(BrokerpoolError, 0)
    )


def _branch(kind: type[BrokerpoolError], depth: int) -> str:
    code = getattr(kind, "code", None)
    link = f"[{code.name}](../errors.md#{code.name.lower()})" if code else "several"
    promise = (kind.__doc__ or "").partition("\n\n")[0]
    row = f"| {'&emsp;' * depth}`{kind.__name__}` | {link} | {promise} |\n"
    own = [sub for sub in kind.__subclasses__() if sub.__module__ == exceptions.__name__]
    return row + "".join(_branch(sub, depth + 1) for sub in own)


def settings() -> str:
    """Return the reference page of the settings."""
    text = SETTINGS
    for title, group in GROUPS.items():
        text += f"## {title}\n\n{group.__doc__}\n\n"
        text += "| setting | default | allowed | meaning |\n| --- | --- | --- | --- |\n"
        text += "".join(_row(setting) for setting in describe(group)) + "\n"
        if group is SeveralAccounts:
            text += ACCOUNTS + "| member | default | allowed | meaning |\n| --- | --- | --- | --- |\n"
            text += "".join(_row(setting) for setting in describe(AccountSettings)) + "\n"
    return text + SETTINGS_END


def statistics() -> str:
    """Return the reference page of the statistics."""
    text = STATISTICS
    for path, (title, fields) in SECTIONS.items():
        text += f"## {title}\n\nUnder `{path}`:\n\n"
        text += "| member | kind | unit | meaning | metric | OpenTelemetry |\n"
        text += "| --- | --- | --- | --- | --- | --- |\n"
        text += "".join(_number(field, path) for field in fields) + "\n"
    return text.rstrip("\n") + "\n"


def env_example() -> str:
    """Return the example environment file: every setting with its default, secrets left open."""
    text = ENV_EXAMPLE
    for title, group in GROUPS.items():
        text += f"# -- {title} ".ljust(80, "-") + "\n"
        for setting in describe(group):
            text += f"\n# {setting.meaning}\n# Allowed: {setting.allowed}.\n"
            text += f"{setting.name}={setting.default or ''}\n"
        text += "\n" + (ACCOUNT_EXAMPLE if group is SeveralAccounts else "")
    return text.rstrip("\n") + "\n"


def _number(field: Field, section: str) -> str:
    member = field.path.removeprefix(f"{section}.")
    metric = f"`{field.metric}`" if field.metric else ""
    return f"| `{member}` | {field.kind.value} | {field.unit} | {field.meaning} | {metric} | {field.otel} |\n"


def _row(setting: Described) -> str:
    default = {None: "must be given", "": "none"}.get(setting.default, f"`{setting.default}`")
    return f"| `{setting.name}` | {default} | {setting.allowed} | {setting.meaning} |\n"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
