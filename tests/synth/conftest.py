"""What only tests of templates need."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Exchange, read


@pytest.fixture(scope="session", autouse=True)
def turning_on(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], Path] | None]:
    """Begin to synthesize `turned_on` before the first test, if any test will want it."""
    if not any("turned_on" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    folder = tmp_path_factory.mktemp("turned-on")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.synth.turned_on", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process, folder
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def turned_on(turning_on: tuple[subprocess.Popen[str], Path]) -> Exchange:
    """Prod with every switch on, links to partners, and libraries; fails on an open finding."""
    from tests.synth.turned_on import environment  # noqa: PLC0415 - a second of jsii

    process, folder = turning_on
    said, _ = process.communicate()
    if process.returncode:
        pytest.fail(said, pytrace=False)
    return read(environment(), folder / "assembly-Prod")
