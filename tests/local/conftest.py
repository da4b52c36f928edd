"""An embedded AWS for tests: one server, emptied by whoever asks for a fresh one."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from tests.local.world import ACCOUNT, REGION


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An empty cloud that listens."""
    made = Cloud(tmp_path / "cloud", account=ACCOUNT, region=REGION)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for the tests of a module, which keep out of each other's way by names."""
    made = Cloud(tmp_path_factory.mktemp("cloud"), account=ACCOUNT, region=REGION)
    made.start()
    yield made
    made.stop()


def until(holds: Callable[[], Any], wait_s: float = 60.0) -> Any:
    """Return what `holds` returns once it is true; fail after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while not (value := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value
