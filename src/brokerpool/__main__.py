"""The `brokerpool` command, also as `python -m brokerpool`."""

from brokerpool import garbage_collection


def main() -> None:
    """Run the command."""
    garbage_collection.starting()
    from brokerpool.cli import main as command  # most of a start are its imports

    command()


if __name__ == "__main__":
    main()
