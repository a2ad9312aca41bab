"""Progress of a command on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_INTERVAL_S = 10.0
"""Where there is no terminal a step says no more often how far it is."""

OnStep = Callable[[str, float], None]
"""Takes what is being done and the share of it that is done, 0 to 1."""


@contextmanager
def show_progress() -> Iterator[OnStep]:
    """A bar on standard error that follows the steps; a line per step where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        last_step, last_at = "", 0.0

        def on_step(what: str, share: float) -> None:
            nonlocal last_step, last_at
            progress.update(task, description=what, completed=share)
            if console.is_terminal:
                return
            now = time.monotonic()
            if what != last_step:
                click.echo(f"{what} ...", err=True)
            elif now - last_at >= LINE_INTERVAL_S:
                click.echo(f"{what} {share:.0%}", err=True)
            else:
                return
            last_step, last_at = what, now

        yield on_step
