"""`brokerpool errors`: the error catalogue on the terminal."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from brokerpool.errors import ErrorCode


def errors(
    code: Annotated[str | None, typer.Argument(help="One code, as it stands in an error.")] = None,
) -> None:
    """Explain an error code: its cause, what brokerpool did, and what to do; without a code, list all."""
    if code is None:
        table = Table("code", "cause")
        for known in ErrorCode:
            table.add_row(known.name, known.cause)
        Console().print(table)
        return
    found = ErrorCode.__members__.get(code.upper())
    if found is None:
        near = difflib.get_close_matches(code.upper(), ErrorCode.__members__, n=1)
        hint = f"did you mean {near[0]}?" if near else "`brokerpool errors` lists all."
        raise typer.BadParameter(f"{code} is no code; {hint}")
    typer.echo(found.name)
    for label, text in (
        ("Cause", found.cause),
        ("What brokerpool did", found.response),
        ("What to do", found.action),
    ):
        typer.echo(f"{label}: {text}")
