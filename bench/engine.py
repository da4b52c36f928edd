"""The engine without its network: the book alone, with accounts and events, with its journal, and replaying."""

import gc
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from bench.books import Line, read_lines
from bench.result import Result, compared
from bench.workloads import W1, W2, Flow, Workload
from config.markets import CATALOGUE
from local.paths import PROJECT
from runtime.engine.engine import Engine
from runtime.engine.follower import Follower
from runtime.engine.leader import JournalWriter, Leader, Sealed
from runtime.shared import messages as m
from runtime.shared.builds import CHOICE, INTERPRETED

RIVALS: Final = {"lightmatchingengine": 0, "pyorderbook": 0, "order_matching": 1_500}
"""Engines that match, from PyPI, and how many operations each is given (0: all): the slow ones would take minutes."""
RIVAL_PYTHON: Final = PROJECT / ".build" / "bench" / "bin" / "python"
ACCOUNTS: Final = 64
TICKS: Final = 60
LOTS: Final = 1_000
"""Scale of the workload's prices and lots, so that every order passes the filters of the market."""
FUNDS: Final = 5 * 10**16
BATCH: Final = 1_024
COMMAND_BYTES: Final = 100
"""About what an order takes in the journal."""
APPENDED: Final = 20_000
"""Commands that a bare append loop makes durable."""
REPEATS: Final = 3
ROUNDS: Final = 3
"""Engines run in turn, and the best run of each counts: the speed of a shared machine changes within seconds."""
MILLION: Final = 1_000_000


def workload_file(workload: Workload, folder: Path) -> Path:
    """Write the workload's lines; its published hash is checked by the tests of the book."""
    path = folder / f"{workload.name}.txt"
    with path.open("w") as file:
        file.writelines(Flow(workload).lines())
    return path


def run_book(engine: str, path: Path, count: int, *, python: Path | None = None, build: str = "") -> dict[str, Any]:
    """Run `bench.books` in a process of its own and return what it reports."""
    command = [str(python or sys.executable), "-m", "bench.books", engine, str(path), str(count)]
    environment = {**os.environ, CHOICE: build}
    told = subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)  # noqa: S603 - ours
    report: dict[str, Any] = json.loads(told.stdout)
    return report


def book(workload: Workload) -> Result:
    """Compare our compiled book with the fastest engine on PyPI that matches."""
    best: dict[tuple[str, int], dict[str, Any]] = {}

    def run(name: str, engine: str, count: int, python: Path | None = None, build: str = "") -> None:
        report = run_book(engine, path, count, python=python, build=build)
        if (name, count) not in best or report["cpu_s"] < best[name, count]["cpu_s"]:
            best[name, count] = report

    with tempfile.TemporaryDirectory() as folder:
        path = workload_file(workload, Path(folder))
        total = sum(1 for _ in path.open())
        counts = {name: most or total for name, most in RIVALS.items()}
        for _ in range(ROUNDS):
            for count in {total, *counts.values()}:
                run("ours", "ours", count)
            run(INTERPRETED, "ours", total, build=INTERPRETED)
            for name, count in counts.items():
                run(name, name, count, RIVAL_PYTHON)
    for name, count in counts.items():
        for what in ("trades", "lots"):
            found, expected = best[name, count][what], best["ours", count][what]
            if found != expected:
                raise AssertionError(f"{name} on {workload.name}: {what} {found}, ours {expected}")
    rates = {name: count / best[name, count]["cpu_s"] for name, count in counts.items()}
    fastest = max(rates, key=lambda name: rates[name])
    shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    return compared(
        f"book_{workload.name}",
        total / best["ours", total]["cpu_s"],
        rates[fastest],
        unit="operations per CPU second",
        what=f"{workload.name.upper()}, garbage collection off; to {fastest}; all: {shown}, "
        f"ours interpreted {total / best[INTERPRETED, total]['cpu_s']:,.0f}",
    )


# ---- the engine on the flow of W1 -----------------------------------------------------------------------------------


def opening() -> Iterator[m.Command]:
    """Configure, open the accounts and fund them."""
    yield m.Configure(
        [asset.id for asset in CATALOGUE.assets], CATALOGUE.specs(), CATALOGUE.tier_specs(), m.RULES_NEWEST
    )
    for number in range(ACCOUNTS):
        yield m.OpenAccount(f"user{number}", 1 + number % 3)
    for number in range(ACCOUNTS):
        for asset in CATALOGUE.assets:
            yield m.Deposit(m.FIRST_USER_ACCOUNT + number, asset.id, FUNDS, f"bench-{number}-{asset.name}")


def commands(lines: list[Line]) -> list[m.Command]:
    """Return the flow as commands. Buyers and sellers differ, so self-trade prevention is checked and never acts.

    The engine counts its orders as the flow does, so cancels can name them.
    """
    work: list[m.Command] = []
    owner: dict[int, int] = {}
    for kind, order_id, side, price, lots in lines:
        if kind == "C":
            work.append(m.CancelOrder(owner[order_id], 1, order_id, "", ""))
            continue
        account = owner[order_id] = m.FIRST_USER_ACCOUNT + order_id % (ACCOUNTS // 2) * 2 + side
        work.append(
            m.PlaceOrder(
                account, 1, side, m.LIMIT, m.GTC, price * TICKS, lots * LOTS, 0, f"c{order_id}", m.STP_EXPIRE_MAKER
            )
        )
    return work


def core_run(work: list[m.Command]) -> float:
    """Apply `work` to a fresh engine; return its CPU seconds. Refuses a run whose trades are not those of the flow."""
    engine = Engine()
    sequence = 0
    for sequence, command in enumerate(opening(), 1):
        engine.apply(sequence, sequence, command)
    refused = 0
    started = time.process_time()
    for command in work:
        sequence += 1
        reply, _ = engine.apply(sequence, sequence, command)
        refused += type(reply) is m.Rejected
    spent = time.process_time() - started
    last = engine.markets[1].last_trade_id
    if refused or last != W1_TRADES:
        raise AssertionError(f"{refused} commands refused, {last} trades; expected 0 and {W1_TRADES}")
    return spent


W1_TRADES: Final = 39_160


def _lines(workload: Workload) -> list[Line]:
    with tempfile.TemporaryDirectory() as folder:
        return read_lines(workload_file(workload, Path(folder)), 10**9)


def _core_rate(work: list[m.Command]) -> float:
    gc.disable()
    gc.freeze()
    return len(work) / min(core_run(work) for _ in range(REPEATS))


def core() -> Result:
    """Compare the engine, with accounts, fees, events and self-trade prevention, with the interpreted book alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = workload_file(W1, Path(folder))
        lines = read_lines(path, 10**9)
        bare = run_book("ours", path, len(lines), build=INTERPRETED)
    return compared(
        "core",
        _core_rate(commands(lines)),
        bare["operations"] / bare["cpu_s"],
        unit="commands per CPU second",
        what=f"W1 over {ACCOUNTS} accounts; to the interpreted book alone on W1",
    )


Apply = Callable[[Sealed], object]
"""Applies a batch that is durable."""


def _whole(leader: Leader) -> Apply:
    """Return what a leader does: it remembers replies, and logs and publishes events."""
    return leader.apply


def _core_alone(_leader: Leader) -> Apply:
    """Return what the core does, whose replies and events nobody takes."""
    engine = Engine()

    def apply(sealed: Sealed) -> None:
        for sequence, entry in enumerate(sealed.entries, sealed.first):
            engine.apply(sequence, sequence, entry.command)

    return apply


def _journaled(
    work: list[m.Command], folder: Path, applying: Callable[[Leader], Apply] = _whole
) -> tuple[float, list[bytes]]:
    """Lead a group on a file journal through `work` in batches; return the seconds and the bytes of each batch.

    As the server does: while a batch is made durable, the one before it is applied.
    """
    leader = Leader(Follower.of_files(folder, "main"))
    leader.take_over()
    apply = applying(leader)
    everything = [m.Entry("bench", n, max(0, n - BATCH), command) for n, command in enumerate([*opening(), *work], 1)]
    writer = JournalWriter()
    sealed: list[Sealed] = []
    started = time.perf_counter()
    for at in range(0, len(everything), BATCH):
        sealed.append(leader.seal(everything[at : at + BATCH]))
        written = writer.begin(leader.make_durable, sealed[-1])
        if at:
            apply(sealed[-2])
        written.result()
    apply(sealed[-1])
    seconds = time.perf_counter() - started
    writer.close()
    leader.close()
    return seconds, [each.data for each in sealed]


def _leader(folder: Path) -> Leader:
    """Return whoever may lead the group whose logs are in `folder`, caught up with them."""
    follower = Follower.of_files(folder, "main")
    follower.start()
    return Leader(follower)


def _append_seconds(sealed: list[bytes], folder: Path) -> float:
    """Append the same bytes to a bare preallocated file, each batch made durable."""
    path = folder / "bare"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, sum(map(len, sealed)))
        started = time.perf_counter()
        for data in sealed:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        return time.perf_counter() - started


def append_cpu_s(batch: int) -> float:
    """Return the CPU seconds, for each command, of a bare loop that makes `batch` commands durable at a time."""
    scratch = _scratch()
    sealed = [bytes(batch * COMMAND_BYTES)] * (APPENDED // batch)
    started = time.process_time()
    _append_seconds(sealed, scratch)
    spent = time.process_time() - started
    shutil.rmtree(scratch)
    return spent / (len(sealed) * batch)


def durable() -> Result:
    """Compare the core with its journal to the slower of a bare append loop and the core alone."""
    return _led("durable", "the core with its file journal", _core_alone)


def leader() -> Result:
    """Compare a whole leader to the same: besides core and journal it remembers replies, and logs events."""
    return _led("leader", "file journal, memory of replies and event log", _whole)


def _led(name: str, what: str, applying: Callable[[Leader], Apply]) -> Result:
    work = commands(_lines(W1))
    gc.disable()
    gc.freeze()
    scratch = _scratch()
    seconds, sealed = min(
        (_journaled(work, scratch / f"journal{run}", applying) for run in range(REPEATS)), key=lambda run: run[0]
    )
    bare = min(_append_seconds(sealed, scratch) for _ in range(REPEATS))
    alone = min(core_run(work) for _ in range(REPEATS))
    shutil.rmtree(scratch)
    return compared(
        name,
        len(work) / seconds,
        len(work) / max(bare, alone),
        unit="commands per second",
        what=f"W1 in batches of {BATCH}, {what}; to the slower of bare appends with fdatasync "
        f"({len(work) / bare:,.0f}/s) and the core alone ({len(work) / alone:,.0f}/s)",
    )


def recovery() -> Result:
    """Compare replaying a journal with applying the same commands in memory."""
    work = commands(_lines(W1))
    gc.disable()
    gc.freeze()
    scratch = _scratch()
    _journaled(work, scratch / "journal")
    best = 0.0
    for _ in range(REPEATS):
        leader = Leader(Follower.of_files(scratch / "journal", "main"))
        started = time.process_time()
        leader.take_over()
        best = max(best, leader.replica.sequence / (time.process_time() - started))
        leader.close()
    shutil.rmtree(scratch)
    return compared(
        "recovery",
        best,
        _core_rate(work),
        unit="commands per CPU second",
        what="W1 replayed from the file journal; to the core alone",
    )


def memory() -> Result:
    """Tell how much memory a million resting orders take in the engine, indices and all."""
    engine = Engine()
    sequence = 0
    for sequence, command in enumerate(opening(), 1):
        engine.apply(sequence, sequence, command)
    spec = engine.markets[1].spec
    engine.apply(
        sequence + 1,
        sequence + 1,
        m.Configure(list(engine.assets), [_with_room(spec.message)], list(engine.tiers.values()), m.RULES_NEWEST),
    )
    sequence += 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(MILLION):
        sequence += 1
        price = 5_000_000 - number % 1_000 * 10
        account = m.FIRST_USER_ACCOUNT + number % ACCOUNTS
        reply, _ = engine.apply(
            sequence, sequence, m.PlaceOrder(account, 1, m.BUY, m.LIMIT, m.GTC, price, 2_000, 0, f"c{number}")
        )
        assert type(reply) is m.OrderPlaced, reply
    used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Result(name="memory", value=used_kib / 1024, unit="MiB", input=f"{MILLION:,} resting orders at 1,000 prices")


def _with_room(spec: m.MarketSpec) -> m.MarketSpec:
    return replace(spec, open_orders_max=MILLION)


def _scratch() -> Path:
    """Return an empty folder on the disk that journals lie on."""
    parent = PROJECT / ".local"
    parent.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix="bench-"))


def book_w1() -> Result:
    """Compare the book on the shallow workload."""
    return book(W1)


def book_w2() -> Result:
    """Compare the book on the deep workload."""
    return book(W2)
