"""An embedded AWS for tests: one server, emptied by whoever asks for a fresh one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import Cloud

REGION = "ap-southeast-3"
ACCOUNT = "123456789012"


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
