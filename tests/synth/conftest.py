"""What only tests of templates need."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Exchange, read, shared_folder


@pytest.fixture(scope="session", autouse=True)
def turning_on(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Begin to synthesize `turned_on` before the first test, if any test will want it.

    What that process says is locked while it runs, and by nobody else: of several processes that run tests, one starts
    it, and the others see so.
    """
    folder = shared_folder(tmp_path_factory) / "turned-on"
    if not any("turned_on" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield folder
        return
    with folder.with_suffix(".log").open("a") as said:
        try:
            fcntl.flock(said, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = None
        else:
            command = [sys.executable, "-m", "tests.synth.turned_on", str(folder)]
            process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
    yield folder
    if process:
        process.wait()


@pytest.fixture(scope="session")
def turned_on(turning_on: Path) -> Exchange:
    """Prod with every switch on, links to partners, and libraries; fails on an open finding."""
    from tests.synth.turned_on import environment  # noqa: PLC0415 - a second of jsii

    with turning_on.with_suffix(".log").open() as said:
        fcntl.flock(said, fcntl.LOCK_SH)
        if not (turning_on / "manifest.json").exists():
            pytest.fail(said.read(), pytrace=False)
    return read(environment(), turning_on / "assembly-Prod")
