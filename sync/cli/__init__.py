"""The command line: `tidelock`. One file a noun; commands are loaded by name, when they are called."""

from sync.cli.commands import app


def main() -> None:
    """Run the command that the process was called with, and exit with its code."""
    app()
