"""Let this instance go in order: when its group means to end it, end its service first, then tell the group to go on.

Runs beside the service, on the instance's own Python (3.9). The group waits for a bounded time only, so an instance
on which this does not work goes as well, just without a goodbye to its clients.
"""

import subprocess
import sys
import time
import urllib.request

METADATA = "http://169.254.169.254/latest"
SYSTEMCTL = "/usr/bin/systemctl"
AWS = "/usr/bin/aws"
HOOK = "drain"
"""Name of the group's lifecycle hook."""
POLL_S = 5
SETTLE_S = 30
"""How long the balancers have to take this instance from their lists, so that whom it sends away is not sent back."""
STOP_S_MAX = 60
"""Longer than `bursa.service` lets its own end take."""
TRIES_MAX = 120
"""The group may wait for the balancers first, for five minutes, and has nothing to complete before."""


def metadata(path: str) -> str:
    """Return one item of the instance's metadata, or nothing when it is not there or nobody answers."""
    try:
        asking = urllib.request.Request(  # noqa: S310 - a fixed address of the host
            METADATA + "/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        with urllib.request.urlopen(asking, timeout=2) as answer:  # noqa: S310 - the same
            token = answer.read().decode()
        asking = urllib.request.Request(  # noqa: S310 - the same
            f"{METADATA}/meta-data/{path}", headers={"X-aws-ec2-metadata-token": token}
        )
        with urllib.request.urlopen(asking, timeout=2) as answer:  # noqa: S310 - the same
            found: str = answer.read().decode()
            return found
    except OSError:
        return ""


def said(text: str) -> None:
    """Write a line to the journal of the instance."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def end_service() -> None:
    """Stop the service as a deployment would: it takes no new clients and says goodbye to the ones it has."""
    try:
        subprocess.run([SYSTEMCTL, "stop", "bursa.service"], check=False, timeout=STOP_S_MAX)  # noqa: S603 - fixed
    except subprocess.TimeoutExpired:
        said(f"the service did not end within {STOP_S_MAX} s")


def complete() -> bool:
    """Tell the group to go on; True once it has taken that. Before it waits for us, it refuses."""
    command = [AWS, "autoscaling", "complete-lifecycle-action", "--lifecycle-action-result", "CONTINUE"]
    command += ["--lifecycle-hook-name", HOOK, "--instance-id", metadata("instance-id")]
    command += ["--auto-scaling-group-name", metadata("tags/instance/aws:autoscaling:groupName")]
    command += ["--region", metadata("placement/region")]
    try:
        return subprocess.run(command, check=False, timeout=STOP_S_MAX).returncode == 0  # noqa: S603 - no shell
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Wait for the end, for ever; then return 0 when the group was told, 1 when it would not hear."""
    while metadata("autoscaling/target-lifecycle-state") != "Terminated":
        time.sleep(POLL_S)
    said("this instance is to end")
    time.sleep(SETTLE_S)
    end_service()
    for _ in range(TRIES_MAX):
        if complete():
            said("the group goes on")
            return 0
        time.sleep(POLL_S)
    said(f"the group did not hear us in {TRIES_MAX} tries")
    return 1


if __name__ == "__main__":
    sys.exit(main())
