"""What the user sees of a run: one line a step, tables at the end. Colour and a spinner only on a terminal."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.table import Table

OUT: Final = Console(highlight=False, soft_wrap=True)
ERR: Final = Console(stderr=True, highlight=False, soft_wrap=True)


class Step:
    """A step under way; `note` adds what came of it."""

    def __init__(self) -> None:
        """Begin without a note."""
        self.text = ""
        self.say: Callable[[str], None] = _say_nothing
        """Tells how far the step is; seen on a terminal only."""

    def note(self, text: str) -> None:
        """Say what came of the step."""
        self.text = text


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Show that a step is under way, and then how long it took. An error passes through, its step marked."""
    begun = time.monotonic()
    under_way = Step()
    try:
        if OUT.is_terminal:
            with OUT.status(title) as spinner:
                under_way.say = lambda text: spinner.update(f"{title}: {text}")
                yield under_way
        else:
            yield under_way
    except BaseException:
        OUT.print(f"[red]✗[/red] {title}")
        raise
    taken = f"{time.monotonic() - begun:.1f} s"
    OUT.print(
        f"[green]✓[/green] {title}" + (f": {under_way.text}" if under_way.text else "") + f" [dim]({taken})[/dim]"
    )


def _say_nothing(_text: str) -> None:
    """Show no progress within a step."""


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    OUT.print(grid)
    OUT.print()
