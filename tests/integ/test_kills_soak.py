"""Gateway, leader and standby killed again and again under load, in one exchange: `kill -9` after `kill -9`."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from local.control import read_status
from tests.integ.exchange import Exchange, own_exchange
from tests.integ.test_recovery import trade_through
from tests.soak import seeds

pytestmark = pytest.mark.soak
VICTIMS = ("ws", "engine")
"""How the names of those begin that an order passes through. Only an environment beyond dev has a standby."""


def victims(exchange: Exchange) -> list[str]:
    """Return the names of all processes that an order passes through."""
    status = read_status(exchange.layout)
    assert status
    return [each.name for each in status.processes if each.name.startswith(VICTIMS)]


def test_many_kills_of_gateway_leader_and_standby_lose_and_double_nothing(tmp_path: Path) -> None:
    """BURSA_KILLS asks for a number; otherwise it is as many as fit the budget."""
    asked = os.environ.get("BURSA_KILLS")
    drawn = random.Random(int(os.environ.get("BURSA_SEED", "1")))
    many = (drawn.randrange(2**32) for _ in range(int(asked))) if asked else seeds(0.04)
    killed: Counter[str] = Counter()
    with own_exchange(tmp_path / "exchange", "staging") as exchange:
        for seed in many:
            victim = random.Random(seed).choice(victims(exchange))
            asyncio.run(trade_through(exchange, victim, seed))
            killed[victim] += 1
    print(f"killed: {dict(killed)}")
