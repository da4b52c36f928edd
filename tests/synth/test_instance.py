"""How an instance starts its service from the descriptor in its user data."""

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchange_constructs.instance import leave_group, run_service
from runtime.gateway.parts import DRAIN_TIMEOUT_S

DESCRIPTOR = {
    "service": "ws",
    "command": ["python", "-m", "runtime.gateway.ws"],
    "environment": {"SERVICE": "ws", "NOTE": "a b=c"},
    "ports": [8081],
    "image": "registry/bursa:1",
    "log_group": "/bursa/ws",
}


def test_the_described_command_runs_in_the_described_image_with_the_described_environment() -> None:
    command = run_service.docker_command(DESCRIPTOR)
    assert command[-4:] == ["registry/bursa:1", "python", "-m", "runtime.gateway.ws"]
    given = [command[position + 1] for position, word in enumerate(command) if word == "--env"]
    assert given == ["NOTE=a b=c", "SERVICE=ws"]
    assert "awslogs-group=/bursa/ws" in command
    assert command[command.index("--user") + 1] == "10001:10001"
    assert {"--read-only", "--init"} <= set(command)


def test_the_process_is_replaced_so_that_systemd_supervises_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    (tmp_path / "service.json").write_text(json.dumps(DESCRIPTOR))
    monkeypatch.setattr(run_service, "DESCRIPTOR", str(tmp_path / "service.json"))
    monkeypatch.setattr(run_service.os, "execv", lambda _path, command: started.append(command))
    run_service.main()
    assert started == [run_service.docker_command(DESCRIPTOR)]
    assert "runtime.gateway.ws" in capsys.readouterr().out


def test_the_boot_script_is_valid_shell_and_writes_each_file_unchanged(exchange: Any, tmp_path: Path) -> None:
    (template,) = [each for path, each in exchange.of_type("AWS::EC2::LaunchTemplate") if path.startswith("Gateway/")]
    script = exchange.text(template["LaunchTemplateData"]["UserData"])
    assert len(script.encode()) < 16_384  # what EC2 accepts
    inside = script.replace("/etc/", f"{tmp_path}/etc/").replace("/usr/local/", f"{tmp_path}/usr/local/")
    writes = inside.split("sysctl --quiet", maxsplit=1)[0]
    prepare = f"mkdir -p {tmp_path}/etc/systemd/system {tmp_path}/etc/sysctl.d\n"
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    subprocess.run(["bash"], input=prepare + writes, text=True, check=True, timeout=20)
    service = json.loads((tmp_path / "etc/bursa/service.json").read_text())
    assert run_service.docker_command(service)[-3:] == ["python", "-m", "runtime.gateway.ws"]
    written = (tmp_path / "usr/local/lib/bursa/run_service.py").read_text()
    source = Path(run_service.__file__).read_text()
    assert written.replace(str(tmp_path), "") == source
    compile(written, "run_service.py", "exec")
    leaving = (tmp_path / "usr/local/lib/bursa/leave_group.py").read_text()
    assert leaving.replace(str(tmp_path), "") == Path(leave_group.__file__).read_text()
    units = tmp_path / "etc/systemd/system"
    assert f"DOCKER_CONFIG={tmp_path}/etc/bursa/docker\n" in (units / "bursa.service").read_text()
    assert json.loads((tmp_path / "etc/bursa/docker/config.json").read_text()) == {"credsStore": "ecr-login"}
    assert "leave_group.py" in (units / "bursa-leave.service").read_text()
    assert script.rstrip().endswith("systemctl enable --now docker bursa bursa-leave")


class Metadata(http.server.BaseHTTPRequestHandler):
    """Metadata of an instance: only for whoever asked for a token first."""

    items: dict[str, str]
    states: list[str]

    def log_message(self, *_said: object) -> None:
        pass

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer("token-1")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "token-1":
            self.send_error(401)
            return
        item = self.path.removeprefix("/latest/meta-data/")
        if item == "autoscaling/target-lifecycle-state":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            self._answer(state) if state else self.send_error(404)
            return
        self._answer(self.items[item]) if item in self.items else self.send_error(404)

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


class Host:
    """What the script does to its host, in order; `refused` calls of the group come first."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.refused = 0
        self.hangs: set[str] = set()

    def run(self, command: list[str], *, check: bool, timeout: int) -> subprocess.CompletedProcess[str]:
        assert not check
        assert timeout == leave_group.STOP_S_MAX
        program = command[0].rsplit("/", 1)[-1]
        self.did.append(" ".join([program, *command[1:]]))
        if program in self.hangs:
            raise subprocess.TimeoutExpired(command, timeout)
        if program == "aws" and self.refused:
            self.refused -= 1
            return subprocess.CompletedProcess(command, 254)
        return subprocess.CompletedProcess(command, 0)

    def sleep(self, seconds: float) -> None:
        self.did.append(f"sleep {seconds}")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    Metadata.items = {
        "instance-id": "i-1",
        "placement/region": "ap-southeast-3",
        "tags/instance/aws:autoscaling:groupName": "Gateway-Group-1",
    }
    Metadata.states = ["Terminated"]
    server = http.server.ThreadingHTTPServer(("localhost", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(leave_group, "METADATA", f"http://localhost:{server.server_port}/latest")
    host = Host()
    monkeypatch.setattr(leave_group.subprocess, "run", host.run)
    monkeypatch.setattr(leave_group.time, "sleep", host.sleep)
    yield host
    server.shutdown()
    server.server_close()


COMPLETES = (
    "aws autoscaling complete-lifecycle-action --lifecycle-action-result CONTINUE --lifecycle-hook-name drain "
    "--instance-id i-1 --auto-scaling-group-name Gateway-Group-1 --region ap-southeast-3"
)


def test_a_host_that_is_to_end_leaves_the_balancers_ends_its_service_and_only_then_tells_its_group(host: Host) -> None:
    Metadata.states = ["", "InService", "InService", "Terminated"]
    host.refused = 2  # the group still waits for the balancers
    assert leave_group.main() == 0
    assert host.did == [
        *["sleep 5"] * 3,
        "sleep 30",
        "systemctl stop bursa.service",
        *[COMPLETES, "sleep 5"] * 2,
        COMPLETES,
    ]


def test_a_service_that_does_not_end_does_not_hold_its_host_and_a_deaf_group_is_given_up(host: Host) -> None:
    host.hangs = {"systemctl"}
    assert leave_group.main() == 0
    host.did.clear()
    host.hangs = {"aws"}
    assert leave_group.main() == 1
    assert host.did.count(COMPLETES) == leave_group.TRIES_MAX


def test_a_host_whose_metadata_does_not_answer_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leave_group, "METADATA", "http://localhost:1/latest")
    assert leave_group.metadata("autoscaling/target-lifecycle-state") == ""
    assert host.did == []


def test_the_unit_may_take_as_long_as_the_gateway_takes_leave() -> None:
    unit = Path(leave_group.__file__).with_name("bursa.service").read_text()
    values = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    # docker waits for the gateway, the unit for docker, and the script for the unit.
    assert DRAIN_TIMEOUT_S < int(values["ExecStop"].split("--time ")[1].split()[0]) < int(values["TimeoutStopSec"])
    assert int(values["TimeoutStopSec"]) < leave_group.STOP_S_MAX
