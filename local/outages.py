"""Outages on purpose: a store that is away for a while, to see what the exchange does without it and afterwards.

`python -m local outage kinesis 60` begins one and returns; it ends by itself, or at once with 0 seconds. Postgres and
Valkey are killed and not started again before that; Kinesis answers every call with 503. `make status` names those.
"""

import time
from pathlib import Path
from typing import Final

from local.paths import write_private

KINESIS: Final = "kinesis"
STORES: Final = (KINESIS, "postgres", "valkey")
SECONDS_MAX: Final = 3_600


class OutageError(ValueError):
    """An outage that cannot be; the message says what was asked for and what is allowed."""


class Outages:
    """Which stores are out, as files that say until when: whoever asked for it need not live to end it."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made when the first begins."""
        self._folder = folder

    def begin(self, store: str, seconds: float) -> None:
        """Take `store` away for `seconds` from now, 0 ends its outage. Raises OutageError."""
        if store not in STORES:
            raise OutageError(f"the store was {store!r}, allowed: {', '.join(STORES)}")
        if not 0 <= seconds <= SECONDS_MAX:
            raise OutageError(f"seconds were {seconds:g}, allowed: 0 to {SECONDS_MAX}")
        self._folder.mkdir(parents=True, exist_ok=True)
        write_private(self._folder / store, str(time.time() + seconds).encode())

    def left_s(self, store: str) -> float:
        """Return for how much longer `store` is out, in seconds; 0 when it is not."""
        try:
            return max(0.0, float((self._folder / store).read_text()) - time.time())
        except (OSError, ValueError):
            return 0.0

    def is_out(self, store: str) -> bool:
        """Return whether `store` is out now."""
        return self.left_s(store) > 0

    def present(self) -> dict[str, float]:
        """Return the stores that are out, and for how many more seconds."""
        return {store: left_s for store in STORES if (left_s := self.left_s(store))}

    def end_all(self) -> None:
        """End every outage: a new run begins without."""
        for store in STORES:
            (self._folder / store).unlink(missing_ok=True)
