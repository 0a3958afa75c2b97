"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing where a script reads JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

Advance = Callable[[int], None]


@contextmanager
def progress(title: str, total: int, *, unit: str, quiet: bool = False) -> Iterator[Advance]:
    """Show how far the work in the block is, on standard error.

    Args:
        total: how much there is to do. unit: ``bytes`` or a noun such as ``rows``. quiet: show nothing.
    Returns:
        what to call with how much more is done.
    """
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        yield from _bar(title, total, unit)
    else:
        typer.echo(f"{title} …", file=sys.stderr)
        yield lambda _: None


def _bar(title: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    counted = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    with Progress(TextColumn(title), BarColumn(), counted, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=total or None)
        yield lambda done: shown.advance(task, done)
