"""`python -m local up|down|status|outage|run-schedule|test|tiers`: the exchange on this machine."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape

from local import control, synthesis
from local.assembly import AssemblyError, read_assembly
from local.cloud import SCHEDULES, ForeignAccountError
from local.console import ERR, OUT, table
from local.control import AlreadyRunningError, is_running, read_status, sole_launcher, stop_launcher
from local.delivery.expressions import ExpressionError
from local.delivery.functions import FunctionError
from local.delivery.lake import LakeError
from local.delivery.mappings import MappingError
from local.delivery.rules import RuleError
from local.deploy import NOT_REAL, REAL, DeployError
from local.enclave import EnclaveError
from local.grants.inline import UngrantedDeliveryError
from local.launcher import DEGRADED, HEALTHY, Launcher, PortBusyError, fetch, post, show_urls
from local.outages import STORES, OutageError, Outages
from local.paths import PROJECT, Layout
from local.recorded import RECORDED
from local.services import ServiceError
from local.stand_ins import StandInError, free_port
from local.supervisor import StartError
from local.synthesis import SynthesisError

PORT_MAX: Final = 65_535
TIERS: Final = PROJECT / "tests" / "local" / "tiers.json"
LAST_ERROR_MAX: Final = 24
NAME_MAX: Final = 32
DETACHED_TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.1
_EXPECTED: Final = (
    AlreadyRunningError,
    AssemblyError,
    BotoCoreError,
    ClientError,
    DeployError,
    EnclaveError,
    ExpressionError,
    ForeignAccountError,
    FunctionError,
    LakeError,
    MappingError,
    OutageError,
    PortBusyError,
    RuleError,
    ServiceError,
    StandInError,
    StartError,
    SynthesisError,
    UngrantedDeliveryError,
)
"""What can go wrong without a fault of this program; each says what to do."""


def up(layout: Layout, *, port: int, environment: str) -> int:
    """Run the exchange in the foreground until Ctrl-C."""
    layout.create()
    logging.basicConfig(
        filename=layout.logs / "launcher.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    for noisy in ("botocore", "urllib3", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with sole_launcher(layout):
        asyncio.run(Launcher(layout, port=port, environment=environment).run())
    return 0


def up_detached(layout: Layout, *, port: int, environment: str) -> int:
    """Start the exchange as a daemon, show its progress, and return once it is healthy."""
    layout.create()
    with sole_launcher(layout):
        pass  # says so when another runs
    if left := control.end_leftovers(layout):  # before the status that names them is gone
        OUT.print(f"ended {left} processes that an earlier run left behind")
    control.status_file(layout).unlink(missing_ok=True)
    progress = layout.run / "progress.txt"
    with progress.open("wb") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--port", str(port), "--env", environment],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=PROJECT,
            env={**os.environ, "LOCAL_DIR": str(layout.root), "COLUMNS": str(OUT.width)},
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACHED_TIMEOUT_S
    with progress.open() as shown:
        while True:
            ended = daemon.poll()
            status = read_status(layout)
            is_up = status is not None and status.pid == daemon.pid and status.state == HEALTHY
            sys.stdout.write(shown.read())
            sys.stdout.flush()
            if is_up:
                return 0
            if ended is not None:
                return ended or 1
            if time.monotonic() > deadline:
                stop_launcher(layout)
                ERR.print(f"not healthy within {DETACHED_TIMEOUT_S:g} s; see {layout.logs}")
                return 1
            time.sleep(_POLL_S)


def down(layout: Layout) -> int:
    """Stop the exchange and whatever an earlier run left."""
    was_running = is_running(layout)
    stop_launcher(layout)
    if is_running(layout):
        ERR.print("the launcher does not end")
        return 1
    OUT.print("stopped" if was_running else "not running")
    return 0


def show_status(layout: Layout, *, is_verbose: bool = False) -> int:
    """Show how the exchange is, and if `is_verbose` every type of resource; return 0 while it is healthy."""
    status = read_status(layout)
    if status is None or not is_running(layout):
        OUT.print("not running; `make up` starts it")
        return 1
    rows = [
        (process.name, process.state, str(process.pid or ""), str(process.restarts), process.address)
        for process in status.processes
    ]
    outages = Outages(layout.outages).present()
    if outages and status.state == HEALTHY:
        status.state = DEGRADED  # the launcher will say so, too, a moment later
    table(f"Bursa ({status.environment}) is {status.state}", ("process", "state", "pid", "restarts", "address"), rows)
    if status.functions:
        called = [
            (
                _middle(each.name, NAME_MAX),
                str(each.invocations),
                str(each.errors),
                str(each.peak_mib or ""),
                each.last_error[:LAST_ERROR_MAX],
            )
            for each in status.functions
        ]
        table("Functions", ("function", "calls", "errors", "peak MiB", "last error"), called)
    if is_verbose and layout.resources.exists():
        OUT.print(layout.resources.read_text(), markup=False)
    if status.urls:
        show_urls(status.urls, layout)
    for store, left_s in outages.items():
        OUT.print(f"{store} is out on purpose for {left_s:.0f} s more")
    if status.state != HEALTHY or not status.is_fresh:
        OUT.print(f"{status.state}" + ("" if status.is_fresh else ", and the launcher is silent"))
        return 1
    if problem := _ping(status.urls["rest_url"]):
        OUT.print(f"the front door does not answer: {problem}")
        return 1
    return 0


def outage(layout: Layout, store: str, seconds: float) -> int:
    """Take a store away for a while. Raises OutageError."""
    if not is_running(layout):
        OUT.print("not running; `make up` starts it")
        return 1
    Outages(layout.outages).begin(store, seconds)
    OUT.print(f"{store} is out for {seconds:g} s" if seconds else f"{store} is back")
    return 0


def test(layout: Layout, arguments: list[str]) -> int:
    """Start an exchange of its own, run pytest against it, stop it; return pytest's exit code."""
    shutil.rmtree(layout.root, ignore_errors=True)
    code = up_detached(layout, port=free_port(), environment="dev")
    if code == 0:
        command = [sys.executable, "-m", "pytest", *arguments]
        code = subprocess.run(
            command,
            check=False,
            cwd=PROJECT,
            env={
                **os.environ,
                "LOCAL_DIR": str(layout.root),
                "BURSA_DEMO": str(layout.demo),
                "BURSA_DEMO_IS_OURS": "1",  # so the tests may stop it once none of them needs it any more
            },
        ).returncode
    down(layout)
    OUT.print("[green]passed[/green]" if code == 0 else f"[red]failed[/red] ({code}); logs are in {layout.logs}")
    return code


def write_tiers() -> int:
    """Write which types of dev are real and which only recorded, for the test that holds them there."""
    folder, _is_new = synthesis.synthesize("dev")
    types = {
        resource["Type"]
        for stack in read_assembly(folder, "dev").stacks
        for resource in stack.resources.values()
        # What a condition governs is a switch, and off in dev.
        if resource["Type"] != "AWS::CDK::Metadata" and "Condition" not in resource
    }
    tiers: dict[str, list[str]] = {REAL: [], NOT_REAL: []}
    for name in sorted(types):
        tiers[NOT_REAL if name in RECORDED else REAL].append(name)
    TIERS.write_text(json.dumps(tiers, indent=1) + "\n")
    OUT.print(f"{TIERS.relative_to(PROJECT)}: {len(tiers[REAL])} types real, {len(tiers[NOT_REAL])} recorded")
    return 0


def run_schedule(layout: Layout, name: str) -> int:
    """Have the running exchange run one schedule now, whatever the time; its log tells what came of it."""
    status = read_status(layout)
    if status is None or not is_running(layout) or "aws_endpoint_url" not in status.urls:
        ERR.print("not running; `make up` starts it")
        return 1
    code, answer = post(status.urls["aws_endpoint_url"] + SCHEDULES + name)
    (OUT if code == HTTPStatus.OK else ERR).print(f"started {answer}" if code == HTTPStatus.OK else answer)
    return 0 if code == HTTPStatus.OK else 1


def _ping(rest_url: str) -> str:
    """Return what is wrong with the exchange behind the front door; empty if nothing is."""
    try:
        fetch(f"{rest_url}/api/v3/ping")
    except OSError as error:
        return str(error)
    return ""


def _middle(text: str, size: int) -> str:
    """Return a text cut in its middle to `size` characters."""
    half = (size - 1) // 2
    return text if len(text) <= size else f"{text[:half]}…{text[-half:]}"


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"a port is 1 to {PORT_MAX}, was {text}")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start everything; Ctrl-C stops it")
    starting.add_argument("--port", type=_port, default=8000, help="of the front door (default: %(default)s)")
    starting.add_argument("--env", default="dev", help="environment to run (default: %(default)s)")
    starting.add_argument("--detach", action="store_true", help="return once all is healthy")
    commands.add_parser("down", help="stop everything")
    showing = commands.add_parser("status", help="show every process and function; exit with 0 while healthy")
    showing.add_argument(
        "--verbose", action="store_true", help="also every type of resource, real or recorded, and why"
    )
    running = commands.add_parser(
        "run-schedule", help="run a schedule of the running exchange now, such as a daily job"
    )
    running.add_argument("name", help="its label, or how that ends; a wrong one lists all")
    out = commands.add_parser("outage", help="take a store of the running exchange away for a while; `status` tells")
    out.add_argument("store", help=", ".join(STORES))
    out.add_argument("seconds", type=float, help="how long; 0 ends it now")
    commands.add_parser("tiers", help=f"write {TIERS.relative_to(PROJECT)} anew, after a decision on a type")
    testing = commands.add_parser("test", help="start an exchange of its own, and run pytest against it")
    testing.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


def main() -> int:
    """Carry out one command. Errors that a user can act on are one clear message."""
    options = parser().parse_args()
    layout = Layout.from_environment()
    try:
        match options.command:
            case "up" if options.detach:
                return up_detached(layout, port=options.port, environment=options.env)
            case "up":
                return up(layout, port=options.port, environment=options.env)
            case "down":
                return down(layout)
            case "status":
                return show_status(layout, is_verbose=options.verbose)
            case "outage":
                return outage(layout, options.store, options.seconds)
            case "run-schedule":
                return run_schedule(layout, options.name)
            case "tiers":
                return write_tiers()
        tested = layout if "LOCAL_DIR" in os.environ else Layout(Path(PROJECT / ".local" / "test"))
        return test(tested, [each for each in options.arguments if each != "--"])
    except _EXPECTED as error:
        ERR.print(f"[red]error:[/red] {escape(str(error))}")
        return 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
