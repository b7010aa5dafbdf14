"""The command line."""

from octoscope.cli.app import main

__all__ = ["main"]
