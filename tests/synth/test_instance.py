"""How an instance starts its service from the descriptor in its user data."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exchange_constructs.instance import run_service

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
    inside = inside.replace("/root/", f"{tmp_path}/root/")
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
