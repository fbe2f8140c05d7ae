"""The `brokerpool` command: a thin edge that reads arguments, calls the parts and prints what they say."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

try:
    import typer
    from rich.console import Console
except ModuleNotFoundError as missing:
    sys.exit(
        f"brokerpool: {missing.name} is not installed; the command needs: pip install 'brokerpool[gateway]'"
    )

from brokerpool.commands import errors, explain, feed, plan, top
from brokerpool.commands.accounts import accounts
from brokerpool.commands.database import db
from brokerpool.commands.gateway_request import RefusedByGateway, answer
from brokerpool.commands.gateway_target import Url
from brokerpool.commands.keys import keys
from brokerpool.commands.login import login
from brokerpool.commands.options import FAULT, SETTINGS_FAULT, Config, EnvFile, env_file_or_default, run, warn
from brokerpool.errors import BrokerpoolError, SettingsError
from brokerpool.settings import PoolSettings, Settings, words
from brokerpool.simulator.registry import brokers

# The parts are imported by the commands that need them: `--help` and `plan` stay quick, and a library user
# who imports none of them pays for none.

app = typer.Typer(
    help="Keeps the connections between trading programs and their brokers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    # Typer's own tracebacks show local variables, which may be secrets.
    pretty_exceptions_enable=False,
)

app.add_typer(keys)
app.add_typer(accounts, name="accounts")
app.add_typer(db)
app.command()(login)


def main() -> None:
    """Run the command; an error of ours becomes one line on stderr and exit code 1, of settings 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another code page (cp1252) must not turn a broker's text into a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except BrokerpoolError as error:
        _fail(str(error), SETTINGS_FAULT if isinstance(error, SettingsError) else FAULT)
    except RefusedByGateway as refused:
        _fail(str(refused))
    except ModuleNotFoundError as missing:
        if missing.name not in ("nats", "nkeys"):
            raise
        _fail(f"{missing.name} is not installed; a cluster needs: pip install 'brokerpool[cluster]'")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"brokerpool {version('brokerpool')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    env_file: EnvFile = None,
    config: Config = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Gateways that share the two ports, beside a feed node that has the broker connections;"
            " one is a process that does all by itself.",
        ),
    ] = 1,
) -> None:
    """Run the gateway: OpenAlgo clients in front, the pool of broker connections behind.

    With BROKERPOOL_NATS_URL it has its ticks from the feed nodes of a cluster, and no broker connection.
    The first line on stdout is JSON with ws_url and http_url, once clients are accepted; logs go to
    stderr. SIGTERM and Ctrl-C drain and exit 0.
    """
    from brokerpool.gateway import gateway_process
    from brokerpool.monitor.logs import configure

    settings = _settings(env_file, config)
    files = [file for file in (env_file_or_default(env_file), config) if file is not None]
    configure(settings.log_level, settings.log_format)
    if workers > 1:
        from brokerpool.commands import workers as several

        places = (("--env-file", env_file_or_default(env_file)), ("--config", config))
        arguments = [word for option, file in places if file is not None for word in (option, str(file))]
        asyncio.run(several.run(settings, workers, arguments))
        return
    try:
        run(
            settings,
            gateway_process.run(
                settings,
                files,
                lambda: Settings.load(env_file=env_file_or_default(env_file), config=config),
            ),
        )
    except OSError as error:
        _fail(f"cannot listen: {error.strerror or error}")


@app.command()
def simulate(
    broker: Annotated[str, typer.Option(help=f"The broker to be simulated: {', '.join(brokers())}.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="WebSocket port; 0 takes any free one.")] = 0,
    symbols: Annotated[int, typer.Option(min=1, help="Instruments in the market.")] = 100,
    rate: Annotated[float, typer.Option(min=0, help="Ticks a second over the whole market.")] = 100.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 0,
    replay: Annotated[Path | None, typer.Option(help="Play this tape instead of a market.")] = None,
    write_env: Annotated[
        Path | None, typer.Option(help="Write the settings that make `serve` use the simulator.")
    ] = None,
    write_config: Annotated[
        Path | None,
        typer.Option(
            help="Add the simulator as an account to this TOML file; a second one to the same file makes a"
            " gateway of two accounts."
        ),
    ] = None,
    faults: Annotated[
        list[str] | None,
        typer.Option(
            help="Put a fault proxy in front: a toxic such as `latency latency=20 jitter=5`,"
            " or `none`, or `down`. May be given several times."
        ),
    ] = None,
    redirect_url: Annotated[
        str | None, typer.Option(help="Where its login page leads; without it to a page of its own.")
    ] = None,
) -> None:
    """Run a broker on this machine, with the real wire protocol, the real limits and faults on command.

    The first line on stdout is JSON with the addresses and the credentials. SIGTERM and Ctrl-C exit 0.
    """
    from brokerpool.simulator import run as simulator

    try:
        asyncio.run(
            simulator.simulate(
                broker=broker,
                port=port,
                symbols=symbols,
                rate=rate,
                seed=seed,
                replay=replay,
                write_env=write_env,
                write_config=write_config,
                faults=faults or (),
                redirect_url=redirect_url,
            )
        )
    except (ValueError, OSError) as error:
        _fail(str(error))


@app.command()
def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End after this time; without it, run until Ctrl-C.")
    ] = None,
    accounts: Annotated[
        str | None,
        typer.Option(
            help=f"Brokers of which each is an account, separated by commas: of {', '.join(brokers())}."
        ),
    ] = None,
    cluster: Annotated[
        bool,
        typer.Option("--cluster", help="Two feed nodes and two gateways that meet at a NATS server."),
    ] = False,
) -> None:
    """Show it all: simulator, gateway and a sample client on free ports, with live ticks and statistics.

    With several accounts there is a simulator for each, and their connections share the symbols.
    """
    from brokerpool.commands import demo

    named = words(accounts or PoolSettings.load(environ={}).broker)
    if not named or not set(named) <= set(brokers()):
        raise typer.BadParameter(f"--accounts takes brokers that can be simulated: {', '.join(brokers())}.")
    raise typer.Exit(asyncio.run(demo.run(named, seconds, Console(), cluster=cluster)))


@app.command()
def check(env_file: EnvFile = None, config: Config = None) -> None:
    """Validate the settings and try what `serve` needs: ports, certificate, keys, the broker and its login.

    Lists all faults and exits with 2 if there are any. One broker connection is opened for a moment.
    """
    from brokerpool.commands.check import faults

    settings, found = Settings.load_sound(env_file=env_file_or_default(env_file), config=config)
    if settings is not None:
        warn(settings)
        # What is written wrongly has been told, and is not to be called missing as well.
        told = {fault.split()[0].rstrip(":") for fault in found}
        tried = run(settings, faults(settings, broker="BROKERPOOL_BROKER" not in told))
        found += [f for f in tried if f.split()[0].rstrip(":") not in told]
    for fault in found:
        typer.echo(f"brokerpool: {fault}", err=True)
    if found:
        raise typer.Exit(SETTINGS_FAULT)
    typer.echo("The settings are valid, the ports are free and the broker answers.")


@app.command()
def stats(
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as it is.")] = False,
    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="Keep this gateway's URL, key and CA for later commands, in a file that only you may read.",
        ),
    ] = False,
) -> None:
    """Show the statistics of a running gateway, or of a feed node at its status port."""
    from brokerpool.commands import gateway_target as targets
    from brokerpool.commands.terminal_tables import statistics

    asked = targets.target(url)
    told = answer(asked, "stats", needs=("websocket", "http"))
    if as_json:
        typer.echo(json.dumps(told))
    else:
        Console().print(statistics(told))
    if save:
        typer.echo(f"{asked.url} is kept in {targets.save(asked)}.", err=True)


for _command in (feed.feed, plan.plan, top.top, explain.explain, errors.errors):
    app.command()(_command)


def _settings(env_file: Path | None, config: Path | None) -> Settings:
    settings = Settings.load(env_file=env_file_or_default(env_file), config=config)
    warn(settings)
    return settings


def _fail(message: str, code: int = FAULT) -> NoReturn:
    typer.echo(f"brokerpool: {message}", err=True)
    sys.exit(code)
