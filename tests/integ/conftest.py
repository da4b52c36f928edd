"""The exchange that the tests of this folder trade on, unless a file starts its own."""

import os
from pathlib import Path

import pytest

from local.control import stop_launcher
from local.paths import Layout
from tests.integ.exchange import Exchange


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Stop the exchange of `make test` after the last test of this folder: others would share the machine with it."""
    is_last = nextitem is None or Path(__file__).parent not in nextitem.path.parents
    if is_last and os.environ.pop("BURSA_DEMO_IS_OURS", ""):
        stop_launcher(Layout.from_environment())


@pytest.fixture
def exchange() -> Exchange:
    """The one that `make test` started, healthy."""
    if "BURSA_DEMO" not in os.environ:
        pytest.skip("no exchange is running: `make test` starts one")
    found = Exchange(Layout.from_environment())
    found.wait_healthy()
    return found
