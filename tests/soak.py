"""How long a soak test may run: its share of the budget that `make soak` was given."""

import os
import random
import time
from collections.abc import Iterator

BUDGET_S = float(os.environ.get("BURSA_SOAK_SECONDS", "60"))


def seeds(share: float) -> Iterator[int]:
    """Yield fresh seeds, printing each, until `share` of the budget is used; BURSA_SEED repeats one run."""
    if fixed := os.environ.get("BURSA_SEED"):
        print(f"seed {fixed}")
        yield int(fixed)
        return
    deadline = time.monotonic() + BUDGET_S * share
    count = 0
    while time.monotonic() < deadline or count == 0:
        seed = random.SystemRandom().randrange(2**32)
        print(f"seed {seed}", flush=True)
        yield seed
        count += 1
    print(f"{count} seeds in {BUDGET_S * share:.0f} s")
