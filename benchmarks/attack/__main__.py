"""`python -m benchmarks.attack`: delays of a gateway's clients without and under attack, judged."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.fanout.load_process import LoadError

from .attackers import NICE
from .attacks import ATTACKS
from .measure import GatewayEndedError, duration, run
from .report import LOG_LINES, MEMORY_MB, P99_RATIO, met, tables
from .rig import HOLDERS, Order

_DESCRIPTION = f"""\
Eight attackers without a key, each with another attack, beside clients of one gateway.

A simulated broker and a gateway run as processes of their own; so do the clients and the attackers.
Windows without and under the attack take turns in one run, so that both kinds meet the same machine. The
delay of a frame is the time from the arrival of its tick on a line of the broker's (beside the gateway's,
with the same ticks) to its own arrival at a client, both by the kernel's stamps.

Marks: p99 under attack at most {P99_RATIO:g} times that without; no client lost; at most {MEMORY_MB:g} MB
of memory more; at most {LOG_LINES} lines in the log, and no ERROR.

What the attackers may do is limited, or they would take the machine from the gateway and its clients, which
no program can prevent: they run at nice {NICE}, not on the gateway's core, and each has a limit:
"""

#: Of the tables where there is no terminal.
_WIDTH = 130


def _order(given: Sequence[str] | None) -> Order:
    limits = "".join(f"  {a.name:10} {a.most:>6,} {a.unit}/s: {a.what}\n" for a in ATTACKS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attack",
        description=_DESCRIPTION + limits,
        epilog="Linux with two cores. Exit code 0: every mark is met; 1: one is missed; 2: it could not be"
        " measured. Ctrl-C ends everything that was started.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [attack.name for attack in ATTACKS]
    parser.add_argument(
        "--seconds", type=_positive, default=60.0, help="under attack, and as many without it (default 60)"
    )
    parser.add_argument("--clients", type=int, default=50, help="clients with a key (default 50)")
    parser.add_argument(
        "--rate",
        type=_positive,
        default=20_000.0,
        help=f"frames a second for all clients together (default 20000); each tick goes to {HOLDERS} of them",
    )
    parser.add_argument(
        "--only",
        metavar="NAMES",
        type=lambda text: text.split(","),
        default=names,
        help="attack with these only, separated by commas",
    )
    parser.add_argument("--pace", type=_positive, default=1.0, help="times the limits above (default 1)")
    parser.add_argument("--alone", action="store_true", help="then each attack alone, 5 s each, not judged")
    parser.add_argument(
        "--ahead",
        action="store_true",
        help="let all but the attackers run before other programs of the machine, if these disturb; for root",
    )
    arguments = parser.parse_args(given)
    if unknown := set(arguments.only) - set(names):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    if not 1 <= arguments.clients <= 500:
        parser.error("--clients may be 1 to 500")
    return Order(
        arguments.clients,
        arguments.rate,
        arguments.seconds,
        [name for name in names if name in arguments.only],
        arguments.pace,
        arguments.alone,
        arguments.ahead,
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100,000")
    return value


def main(given: Sequence[str] | None = None) -> int:
    """Return 0 when every mark is met, 1 when one is missed, 2 when it could not be measured."""
    order = _order(given)
    for number in (signal.SIGINT, signal.SIGTERM):  # both, also where a shell has told us to ignore one
        signal.signal(number, signal.default_int_handler)
    bar = Progress(
        TextColumn("{task.description:33}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    try:
        with bar:
            task = bar.add_task("broker, gateway and clients start", total=duration(order))
            result = run(order, lambda what, passed: bar.update(task, description=what, advance=passed))
    except KeyboardInterrupt:
        print("Interrupted; everything that was started has ended.", file=sys.stderr)
        return 130
    except GatewayEndedError as error:
        print(error, file=sys.stderr)
        return 1
    except (LoadError, OSError, AssertionError) as error:  # what was to be started, or a part of the load
        print(error, file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for part in tables(result):
        console.print(part)
    return 0 if met(result) else 1


if __name__ == "__main__":
    sys.exit(main())
