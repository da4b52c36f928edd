"""Start the one service of this instance, as /etc/bursa/service.json describes it.

Runs once per start of the unit, on the instance's own Python (3.9), without anything installed beside it.
"""

import json
import os
import sys
from typing import Any

DESCRIPTOR = "/etc/bursa/service.json"
FILES_MAX = 1_048_576
"""Open files of the process, thus connections."""


def docker_command(descriptor: dict[str, Any]) -> list[str]:
    """Return the `docker run` that starts the described service: not root, read-only disk, the host's own network."""
    command = ["/usr/bin/docker", "run", "--rm", "--name", "bursa", "--network", "host", "--init"]
    command += ["--user", "10001:10001", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    command += ["--ulimit", f"nofile={FILES_MAX}:{FILES_MAX}", "--stop-timeout", "30"]
    command += ["--log-driver", "awslogs", "--log-opt", f"awslogs-group={descriptor['log_group']}"]
    command += ["--log-opt", "mode=non-blocking", "--log-opt", f"tag={descriptor['service']}/{{{{.ID}}}}"]
    for name, value in sorted(descriptor["environment"].items()):
        command += ["--env", f"{name}={value}"]
    return [*command, descriptor["image"], *descriptor["command"]]


def main() -> None:
    """Replace this process by docker, so that the unit supervises the service itself."""
    with open(DESCRIPTOR, encoding="utf-8") as file:  # noqa: PTH123 - reads as what it is
        command = docker_command(json.load(file))
    sys.stdout.write("starting " + " ".join(command[-4:]) + "\n")
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
