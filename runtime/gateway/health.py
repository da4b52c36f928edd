"""What a balancer hears when it asks whether clients should be sent to this gateway."""

from collections.abc import Callable
from typing import Final

_OK: Final = (200, b'{"status":"ok"}')
UNAVAILABLE: Final = (503, b'{"status":"unavailable"}')


class Health:
    """In service from the first time that everything behind can be asked, whatever is away later.

    All gateways have the same engine. A balancer that heard of its absence would have every one of them replaced, and
    none back before the engine is; clients are told of it by the answer to each request, operators by the pulse.
    """

    def __init__(self, is_linked: Callable[[], bool]) -> None:
        """Begin once `is_linked` tells that all links are there."""
        self._is_linked = is_linked
        self._has_begun = False

    def answer(self) -> tuple[int, bytes]:
        """Return HTTP status and body."""
        self._has_begun = self._has_begun or self._is_linked()
        return _OK if self._has_begun else UNAVAILABLE
