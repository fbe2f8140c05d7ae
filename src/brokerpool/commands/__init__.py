"""Commands with a module of their own; `brokerpool.cli` makes them known."""
