"""`python -m brokerpool` is the `brokerpool` command."""

from brokerpool.cli import main

if __name__ == "__main__":
    main()
