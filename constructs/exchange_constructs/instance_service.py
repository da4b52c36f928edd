"""How an EC2 instance comes to run one service: a descriptor, a start script and a systemd unit in its user data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from exchange_constructs.process import Process

DESCRIPTOR: Final = "/etc/bursa/service.json"
_FILES: Final = Path(__file__).resolve().parent / "instance"


def boot_script(
    scope: Construct, *, process: Process, variables: dict[str, str], image: str, log_group: str
) -> ec2.UserData:
    """Return user data that writes the service descriptor and starts what it describes.

    The descriptor is one JSON document: service, command, environment, ports, image, log_group. Whoever else wants to
    start the service, such as a local run, reads the same document. Beside it runs `leave_group`, which answers a hook
    of the instance's group and finds the group in the instance's tags, so these must be in its metadata.
    """
    descriptor = Stack.of(scope).to_json_string(
        {
            "service": process.service,
            "command": process.command,
            "environment": variables,
            "ports": [process.port],
            "image": image,
            "log_group": log_group,
        }
    )
    user_data = ec2.UserData.for_linux(shebang="#!/bin/bash\nset -euo pipefail")
    user_data.add_commands(
        "install -d -m 0755 /etc/bursa/docker /usr/local/lib/bursa",
        *written(DESCRIPTOR, descriptor),
        *written("/usr/local/lib/bursa/run_service.py", (_FILES / "run_service.py").read_text()),
        *written("/usr/local/lib/bursa/leave_group.py", (_FILES / "leave_group.py").read_text()),
        *written("/etc/systemd/system/bursa.service", (_FILES / "bursa.service").read_text()),
        *written("/etc/systemd/system/bursa-leave.service", (_FILES / "bursa-leave.service").read_text()),
        *written("/etc/bursa/docker/config.json", '{"credsStore": "ecr-login"}'),
        *written("/etc/sysctl.d/90-bursa.conf", "net.core.somaxconn = 65535\nnet.ipv4.tcp_max_syn_backlog = 65535"),
        "sysctl --quiet --load /etc/sysctl.d/90-bursa.conf",
        # The packages come from the distribution's own repository, which S3 serves inside the region.
        "dnf install --assumeyes --quiet docker amazon-ecr-credential-helper awscli-2",
        "systemctl daemon-reload",
        "systemctl enable --now docker bursa bursa-leave",
    )
    return user_data


def start_script(scope: Construct, *, process: Process, before: Sequence[str] = ()) -> ec2.UserData:
    """Return user data for an image that has everything in it: the descriptor is written and the service started.

    The image's own `bursa` unit reads the descriptor; nothing is installed or fetched. The commands `before` come
    first; one that fails leaves the service down.
    """
    descriptor = Stack.of(scope).to_json_string(
        {
            "service": process.service,
            "command": process.command,
            "environment": {
                "SERVICE": process.service,
                "LISTEN_HOST": "127.0.0.1",
                "LISTEN_PORT": str(process.port),
                **process.environment,
            },
            "ports": [process.port],
        }
    )
    user_data = ec2.UserData.for_linux(shebang="#!/bin/bash\nset -euo pipefail")
    user_data.add_commands(
        "install -d -m 0755 /etc/bursa /usr/local/lib/bursa",
        *before,
        *written(DESCRIPTOR, descriptor),
        "systemctl enable --now bursa",
    )
    return user_data


def written(path: str, text: str) -> list[str]:
    """Return shell lines that write `text` to `path` unchanged."""
    return [f"cat > {path} <<'END_OF_FILE'", text.rstrip("\n"), "END_OF_FILE"]
