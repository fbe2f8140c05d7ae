"""What came out, judged: tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from .attackers import NICE
from .attacks import ATTACKS
from .measure import Deliveries, Result

#: The marks, for a run of a minute under attack.
P99_RATIO = 2.0
MEMORY_MB = 100.0
LOG_LINES = 100
#: Share of the time for which others may have the gateway's core before its delays are not to be relied on.
DISTURBED = 0.005
#: Kinds of log lines that are shown.
_MOST_KINDS = 8
_KIND_LETTERS = 100


class Row(NamedTuple):
    """One figure; `met` is None where nothing is asked of it."""

    what: str
    without: str
    attacked: str
    mark: str = ""
    reached: str = ""
    met: bool | None = None


def rows(result: Result) -> Iterator[Row]:
    """Yield the figures, judged."""
    calm, busy = result.without, result.attacked
    each = 1 / result.order.clients
    yield Row("frames delivered a second", f"{calm.per_second:,.0f}", f"{busy.per_second:,.0f}")
    yield Row("  to each client", f"{calm.per_second * each:,.0f}", f"{busy.per_second * each:,.0f}")
    yield Row("p50, ms", f"{calm.at_ms(0.5):.2f}", f"{busy.at_ms(0.5):.2f}")
    low, high = calm.at_ms(0.99), busy.at_ms(0.99)
    ratio, mark = high / low, f"at most {P99_RATIO:g}x"
    yield Row("p99, ms", f"{low:.2f}", f"{high:.2f}", mark, f"{ratio:.2f}x", ratio <= P99_RATIO)
    yield Row("max, ms", f"{calm.most_ms:.2f}", f"{busy.most_ms:.2f}")
    used = _share(calm.gateway_cpu, calm), _share(busy.gateway_cpu, busy)
    yield Row("gateway's share of its core", *used)
    waited = [f"{d.gateway_waited / d.seconds:.1%}" for d in (calm, busy)]
    yield Row("gateway waited for its core", waited[0], waited[1])
    yield Row("attackers' share of theirs", "", _share(busy.attackers_cpu, busy))
    lost = len(result.lost)
    yield Row("clients lost", "", "", "none", str(lost), lost == 0)
    grown = result.memory_peak - result.memory_before
    yield Row(
        "gateway's memory (VmRSS), MB",
        f"{result.memory_before:.1f} before",
        f"{result.memory_peak:.1f} at most",
        f"at most {MEMORY_MB:g} more",
        f"{grown:+.1f}",
        grown <= MEMORY_MB,
    )
    lines, errors = result.log_lines, len(result.log_errors)
    yield Row("log lines", "", "", f"at most {LOG_LINES}", str(lines), lines <= LOG_LINES)
    yield Row("ERROR lines", "", "", "none", str(errors), errors == 0)


def tables(result: Result) -> Iterator[RenderableType]:
    """Yield everything that is shown at the end of a run."""
    yield _judged(result)
    yield _attackers(result)
    if result.log_kinds:
        yield _log(result)
    yield from map(Text, _notes(result))


def met(result: Result) -> bool:
    """Tell whether every mark is met."""
    return all(row.met is not False for row in rows(result))


def _judged(result: Result) -> Table:
    title = f"{result.order.clients} clients, {result.attacked.seconds:.0f} s under attack"
    table = _table("", "without", "under attack", "mark", "reached", "", title=title)
    for row in rows(result):
        word = "" if row.met is None else "[green]met[/]" if row.met else "[red]missed[/]"
        table.add_row(*row[:5], word)
    return table


def _attackers(result: Result) -> Table:
    title = f"The attackers: nice {NICE}, on the core that the gateway has not"
    names = ("attack", "what it sends", "at most", "reached", "shut out")
    table = _table(*names, *(("p99 alone, ms", "gateway's core") if result.alone else ()), title=title)
    for attack in ATTACKS:
        managed = result.attacks.get(attack.name)
        if managed is None:
            continue
        cells = [attack.name, attack.what, f"{attack.most * result.order.pace:,g} {attack.unit}/s"]
        cells += [f"{managed.done / managed.seconds:,.1f}/s", f"{managed.shut_out:,}x"]
        if alone := result.alone.get(attack.name):
            cells += [f"{alone.at_ms(0.99):.2f}", _share(alone.gateway_cpu, alone)]
        table.add_row(*cells)
    return table


def _log(result: Result) -> Table:
    table = _table("lines", "of the gateway's log, numbers left out", title="")
    for kind, count in result.log_kinds[:_MOST_KINDS]:
        table.add_row(f"{count:,}", Text(kind[:_KIND_LETTERS]))
    if rest := result.log_kinds[_MOST_KINDS:]:
        table.add_row(f"{sum(count for _, count in rest):,}", f"of {len(rest)} other kinds")
    return table


def _notes(result: Result) -> Iterator[str]:
    for name, deliveries in (("without", result.without), ("under attack", result.attacked)):
        p99s = ", ".join(f"{p99:.2f}" for p99 in deliveries.p99s_ms)
        yield f"p99 of each window {name}: {p99s} ms"
        if deliveries.gateway_waited > DISTURBED * deliveries.seconds:
            yield "  Others used the gateway's core meanwhile, so a part of these delays is theirs."
        if deliveries.unknown:
            yield f"  {deliveries.unknown} frames were too late to be counted in these delays."
    yield from (f"lost: {reason}" for reason in sorted(set(result.lost)))
    yield from (f"ERROR: {line[:300]}" for line in result.log_errors[:3])


def _share(cpu: float, deliveries: Deliveries) -> str:
    return f"{cpu / deliveries.seconds:.0%}"


def _table(*names: str, title: str) -> Table:
    return Table(*names, title=title, title_justify="left", pad_edge=False)
