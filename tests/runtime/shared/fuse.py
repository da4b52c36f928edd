"""A process that ends in the middle: whatever has effects goes through a fuse, which blows at one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MUTATIONS = frozenset({"put_item", "update_item", "transact_write_items", "send", "offer", "apply", "file"})
"""Methods with effects: of DynamoDB, of state machines and the engine, of nodes, of what is filed."""


class Killed(Exception):  # noqa: N818 - not an error of ours
    """The process ended here."""


@dataclass
class Fuse:
    """Ends the process once, before or after its n-th effect."""

    at: int = -1
    after: bool = False
    effects: int = 0

    def around(self, work: Callable[[], Any]) -> Any:
        number, self.effects = self.effects, self.effects + 1
        if number == self.at and not self.after:
            raise Killed
        done = work()
        if number == self.at:
            raise Killed
        return done


class Fragile:
    """Anything whose changes go through a fuse."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in MUTATIONS:
            return method
        return lambda *args, **named: self._fuse.around(lambda: method(*args, **named))
