"""The checks of arguments that the experiments share."""

from __future__ import annotations

import argparse


class UsageError(ValueError):
    """An experiment cannot run with its arguments; the message names the value and the limit."""


def positive(text: str) -> int:
    """Convert an argument to an int of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: choose 1 or more")
    return value
