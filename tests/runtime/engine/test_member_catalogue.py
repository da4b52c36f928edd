"""Limits that were moved while a standby stood by are those by which it leads."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

from config.markets import CATALOGUE
from runtime.controls.rules import with_limits
from runtime.engine.follower import Follower
from runtime.engine.member import Member
from runtime.shared.catalogue import CatalogueError


def test_a_standby_leads_by_the_newest_catalogue_and_by_its_last_where_that_cannot_be_read(tmp_path: Path) -> None:
    moved = with_limits(CATALOGUE, "BTCUSDT", {"band_up_ppm": 1_234_500})
    read = Mock(side_effect=[CATALOGUE, moved, CatalogueError("broken")])
    member = Member(Follower.of_files(tmp_path, "main"), Mock(), read)
    assert asyncio.run(member._newest_catalogue()) == moved
    assert asyncio.run(member._newest_catalogue()) == moved
