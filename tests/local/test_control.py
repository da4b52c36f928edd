"""How launchers are found and ended, and what is left when one was not."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import control
from local.__main__ import up_detached
from local.control import (
    AlreadyRunningError,
    ProcessStatus,
    Status,
    birth,
    end_leftovers,
    is_running,
    read_status,
    sole_launcher,
    stop_launcher,
    write_status,
)
from local.paths import Layout, write_private


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "local")
    made.create()
    return made


def status(pid: int, *processes: ProcessStatus) -> Status:
    return Status(pid=pid, born=birth(pid), state="healthy", port=8000, environment="dev", processes=list(processes))


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def process(pid: int, born: str = "") -> ProcessStatus:
    return ProcessStatus(name="p", state="healthy", pid=pid, restarts=0, address="", born=born or birth(pid))


def test_there_is_one_launcher_and_others_are_told_where_it_is(layout: Layout) -> None:
    assert not is_running(layout)
    with sole_launcher(layout):
        assert is_running(layout)
        write_status(layout, status(os.getpid()))
        with pytest.raises(AlreadyRunningError, match=r"port 8000.*make down"), sole_launcher(layout):
            pass
    assert not is_running(layout)


def test_a_status_comes_back_and_a_broken_one_is_none(layout: Layout) -> None:
    assert read_status(layout) is None
    write_status(layout, status(1, process(os.getpid())))
    found = read_status(layout)
    assert found is not None
    assert found.is_fresh
    assert found.processes == [process(os.getpid())]
    control.status_file(layout).write_text('{"pid": 1')
    assert read_status(layout) is None
    control.status_file(layout).write_text('{"pid": 1, "processes": []}')
    assert read_status(layout) is None


def test_leftovers_are_ended_but_never_a_process_that_only_has_the_same_id(layout: Layout) -> None:
    left, innocent = sleeper(), sleeper()
    write_status(layout, status(1, process(left.pid), process(innocent.pid, born="another time"), process(0, born="x")))
    assert end_leftovers(layout) == 1
    assert left.wait(5) != 0
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


def test_a_detached_start_ends_what_an_earlier_run_left(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    left = sleeper()
    write_status(layout, status(1, process(left.pid)))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: SimpleNamespace(pid=0, poll=lambda: 1))
    assert up_detached(layout, port=1, environment="dev") == 1
    assert left.wait(5) != 0


HOLDER = """
import sys, time
from pathlib import Path
from local.control import *
from local.paths import Layout
layout = Layout(Path(sys.argv[1]))
with sole_launcher(layout):
    import os
    write_status(layout, Status(pid=os.getpid(), born=birth(os.getpid()), state="healthy", port=1, environment="dev"))
    print("held", flush=True)
    time.sleep(60)
"""


def test_stop_ends_the_launcher(layout: Layout) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(layout.root)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert is_running(layout)
    stop_launcher(layout)
    assert not is_running(layout)
    assert holder.wait(5) != 0


def test_a_private_file_is_private_from_its_first_moment_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_private(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]


def test_folders_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    assert Layout.from_environment().demo == tmp_path / "demo.json"
    monkeypatch.delenv("LOCAL_DIR")
    assert Layout.from_environment().root.name == ".local"
