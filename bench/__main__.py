"""`python -m bench [--only NAME]`: run the benchmarks, each in a process of its own; print and keep the figures."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import msgspec

from bench import engine, exchange, failover, fanout, synth
from bench.result import Result
from local.console import ERR, OUT, table
from local.paths import PROJECT

BENCHES: Final[dict[str, Callable[[], Result]]] = {
    each.__name__: each
    for each in (
        engine.book_w1,
        engine.book_w2,
        engine.core,
        engine.durable,
        engine.leader,
        engine.recovery,
        engine.memory,
        exchange.e2e,
        exchange.rest,
        fanout.fanout,
        fanout.fanout_coalesced,
        failover.failover,
        synth.synth,
    )
}
REPORT: Final = PROJECT / ".local" / "bench.json"
TIMEOUT_S: Final = 600


def run(name: str) -> Result | None:
    """Run one benchmark in a fresh interpreter; None, with its error shown, when it fails."""
    command = [sys.executable, "-m", "bench", "--alone", name]
    told = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, timeout=TIMEOUT_S)  # noqa: S603 - ours
    if told.returncode:
        ERR.print(f"{name}: {told.stderr.decode().strip()}", markup=False)
        return None
    return msgspec.json.decode(told.stdout.splitlines()[-1], type=Result)


def run_all(names: list[str]) -> int:
    """Run, show and keep; return 1 when one failed. No figure is too small to succeed."""
    results: list[Result] = []
    for number, name in enumerate(names, 1):
        OUT.print(f"{number} of {len(names)}: {name} ...")
        started = time.monotonic()
        result = run(name)
        OUT.print(f"  {time.monotonic() - started:.0f} s")
        if result:
            results.append(result)
    kept = {} if set(names) == set(BENCHES) else {each.name: each for each in _kept()}
    kept |= {each.name: each for each in results}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_bytes(msgspec.json.format(msgspec.json.encode(list(kept.values()))))
    table(
        "Benchmarks",
        ("name", "ratio", "value", "baseline", "unit"),
        [
            (
                each.name,
                f"{each.ratio:.2f}" if each.ratio is not None else "",
                f"{each.value:,.1f}" if each.value < 100 else f"{each.value:,.0f}",  # noqa: PLR2004 - for reading
                f"{each.baseline:,.0f}" if each.baseline is not None else "",
                each.unit,
            )
            for each in results
        ],
    )
    for each in results:
        OUT.print(f"{each.name}: {each.input}", markup=False)
    if results and not results[0].compiled:
        OUT.print("no build of engine and gateway is here (`make setup`): what has none ran interpreted")
    OUT.print(f"kept in {REPORT.relative_to(PROJECT)}")
    return 0 if len(results) == len(names) else 1


def _kept() -> list[Result]:
    """Return what earlier runs left; figures of another form are forgotten."""
    try:
        return msgspec.json.decode(REPORT.read_bytes(), type=list[Result])
    except (OSError, msgspec.MsgspecError):
        return []


def main() -> int:
    """Carry out the command line."""
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    top.add_argument("--only", choices=list(BENCHES), help="run this one")
    top.add_argument("--alone", choices=list(BENCHES), help=argparse.SUPPRESS)
    options = top.parse_args()
    if options.alone:
        sys.stdout.buffer.write(msgspec.json.encode(BENCHES[options.alone]()) + b"\n")
        return 0
    return run_all([options.only] if options.only else list(BENCHES))


if __name__ == "__main__":
    sys.exit(main())
