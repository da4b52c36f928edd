"""Failover: from `kill -9` of the leader to the first order that its standby acknowledges.

Two engine processes of one group with file journals and a lease in a DynamoDB of moto, as the tests of failover run
them. Nothing but the lease tells the standby that its leader is gone, so most of the time is the expiry of the lease.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import boto3
from moto.server import ThreadedMotoServer

from bench.result import Result
from config.markets import CATALOGUE
from local.paths import PROJECT
from local.stand_ins import free_port
from runtime.engine.follower import Follower
from runtime.engine.lease import EXPIRY_S, KEY, DynamoLeaseStore, Lease
from runtime.engine.member import Member, new_member_name
from runtime.shared import log, shell
from runtime.shared import messages as m
from runtime.shared.engine_link import EngineLink

ROUNDS: Final = 5
TABLE: Final = "leases"
GROUP: Final = "main"
START_TIMEOUT_S: Final = 60.0
REPLY_TIMEOUT_S: Final = 60.0
FUNDS: Final = 10**16
PRICE: Final = 3_000_000
LOTS: Final = 1_000
LEAD_IN_S: Final = 0.5
"""How long orders are acknowledged before the leader is killed."""


def failover() -> Result:
    """Measure the longest of several failovers, in seconds."""
    with _lease_table() as environment:
        taken = [_round(environment) for _ in range(ROUNDS)]
    return Result(
        name="failover",
        value=max(taken),
        unit="seconds",
        input=f"longest of {ROUNDS}, median {statistics.median(taken):.2f}; from kill -9 of the leader to the first "
        f"order acknowledged by the standby; the lease expires after {EXPIRY_S} s; wanted: under 5",
    )


@contextlib.contextmanager
def _lease_table() -> Iterator[dict[str, str]]:
    """Serve a table of leases; yield the variables by which processes reach it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "TESTING",
        "AWS_SECRET_ACCESS_KEY": "unchecked",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
    }
    os.environ.update(environment)
    try:
        yield environment
    finally:
        server.stop()


def _round(environment: dict[str, str]) -> float:
    """Start a pair, kill its leader under load, and return after how many seconds the other acknowledged an order."""
    client = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    parent = PROJECT / ".local"
    parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="bench-"))
    processes: list[subprocess.Popen[bytes]] = []
    ports = [free_port(), free_port()]
    try:
        for port in ports:
            command = [sys.executable, "-m", "bench.failover", str(folder), str(port)]
            process = subprocess.Popen(  # noqa: S603 - this very module
                command,
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            processes.append(process)
            _wait_listening(port, process)
        return asyncio.run(_kill_under_load(ports, processes[0]))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(folder)
        client.delete_table(TableName=TABLE)


def _wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once the process answers: the first leads then, the second has caught up and stands by."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError), contextlib.closing(_connection(port)):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the engine at port {port} did not start")
        time.sleep(0.05)


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=1)


async def _kill_under_load(ports: list[int], leader: subprocess.Popen[bytes]) -> float:
    """Place one order after the other, kill the leader, and return how long until the next epoch acknowledged one."""
    link = EngineLink(",".join(f"127.0.0.1:{port}" for port in ports))
    await link.start()
    await link.wait_connected(START_TIMEOUT_S)
    opened = (await link.send(m.OpenAccount("bench", 1))).reply
    assert isinstance(opened, m.AccountOpened)
    asset = CATALOGUE.asset(CATALOGUE.markets[0].quote).id
    await link.send(m.Deposit(opened.account, asset, FUNDS, "bench"))
    placed = 0

    async def place_and_cancel() -> None:
        nonlocal placed
        placed += 1
        order = m.PlaceOrder(opened.account, 1, m.BUY, m.LIMIT, m.GTC, PRICE, LOTS, 0, f"b{placed}")
        reply = (await link.send(order, REPLY_TIMEOUT_S)).reply
        assert isinstance(reply, m.OrderPlaced), reply
        await link.send(m.CancelOrder(opened.account, 1, reply.order.order_id, "", ""), REPLY_TIMEOUT_S)

    started = time.monotonic()
    while time.monotonic() - started < LEAD_IN_S:
        await place_and_cancel()
    epoch = link.epoch
    leader.kill()
    killed = time.monotonic()
    while link.epoch == epoch:
        await place_and_cancel()
    seconds = time.monotonic() - killed
    await link.stop()
    return seconds


async def _serve(folder: Path, port: int, stopping: asyncio.Event) -> None:
    """Be one of the two engine processes."""
    lease = Lease(DynamoLeaseStore(TABLE, GROUP), new_member_name())
    await Member(Follower.of_files(folder, GROUP), lease, lambda: CATALOGUE).run("127.0.0.1", port, stopping)


if __name__ == "__main__":
    log.configure("engine")
    shell.run(lambda stopping: _serve(Path(sys.argv[1]), int(sys.argv[2]), stopping))
