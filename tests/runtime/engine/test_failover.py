"""A leader and a standby as processes: killed, stopped, frozen and replaced under load, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from local.stand_ins import free_port
from runtime.engine.lease import EXPIRY_S, KEY
from runtime.shared import messages as m
from runtime.shared.engine_link import EngineLink, _connect, follow_feed
from tests.runtime.engine.test_server import bid, funded
from tests.soak import seeds

LONG_EXPIRY_S = 6.0
"""A lease that nobody waits out by chance, however busy the machine."""
LEADER_TIMEOUT_S = 60.0
STANDING_MAX = 300
PAUSE_S = 0.005
"""Between two commands of a lane: what is tested is what happens around a kill, not speed."""
REGION = "ap-southeast-3"


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """Variables by which a process reaches an embedded DynamoDB with a table of leases."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    variables = {
        "AWS_ACCESS_KEY_ID": "TESTING",
        "AWS_SECRET_ACCESS_KEY": "unchecked",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "NO_PROXY": "127.0.0.1",
    }
    yield variables
    server.stop()


class Pair:
    """Two engine processes of one group, each started again after it ended."""

    def __init__(self, directory: Path, aws: dict[str, str], expiry_s: float) -> None:
        self.ports = [free_port(), free_port()]
        self.address = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._directory = directory
        self._expiry_s = expiry_s
        self._environment = {**os.environ, **aws}
        self._table = directory.name.replace("_", "-")[-40:] + str(random.SystemRandom().randrange(10**6))
        client = boto3.client(
            "dynamodb",
            endpoint_url=aws["AWS_ENDPOINT_URL"],
            region_name=REGION,
            aws_access_key_id="TESTING",
            aws_secret_access_key="unchecked",
        )
        client.create_table(
            TableName=self._table,
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        directory.mkdir(exist_ok=True)
        self.log = directory / "engines.log"

    def start(self, number: int) -> None:
        arguments = [str(self._directory), str(self.ports[number]), self._table, str(self._expiry_s)]
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.runtime.engine.member_process", *arguments],
                env=self._environment,
                stdout=output,
                stderr=output,
            )
        if number < len(self.processes):
            self.processes[number] = process
        else:
            self.processes.append(process)

    async def wait_listening(self, number: int) -> None:
        """Return once that process answers: it leads, or has caught up and stands by."""
        for _ in range(600):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.ports[number])
                writer.close()
                return
            assert self.processes[number].poll() is None, self.log.read_text()[-3000:]
            await asyncio.sleep(0.05)
        raise AssertionError(self.log.read_text()[-3000:])

    async def leader(self) -> int:
        """Return which of the two leads."""
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        while True:
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            for number in (0, 1):
                if await self._leads(number):
                    return number
            await asyncio.sleep(0.05)

    async def _leads(self, number: int) -> bool:
        try:
            _, writer, _ = await _connect(f"127.0.0.1:{self.ports[number]}", m.Hello(m.COMMANDS, "probe"))
        except (OSError, EOFError, TimeoutError):
            return False
        writer.close()
        return True

    def end(self, number: int, how: signal.Signals) -> int:
        self.processes[number].send_signal(how)
        return self.processes[number].wait(20)

    def kill_all(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def pair(directory: Path, aws: dict[str, str], expiry_s: float = EXPIRY_S) -> AsyncIterator[Pair]:
    engines = Pair(directory, aws, expiry_s)
    try:
        for number in (0, 1):
            engines.start(number)
            await engines.wait_listening(number)
        yield engines
    finally:
        engines.kill_all()


class Load:
    """Lanes that place and cancel, and know what must stand; a feed that must have no gap; the longest silence."""

    def __init__(self, engines: Pair, lanes: int = 6) -> None:
        self.acknowledged: dict[str, int] = {}
        self.feed: list[int] = []
        self.events: dict[int, bytes] = {}
        self.replies = 0
        self.silence_s = 0.0
        self._engines = engines
        self._lanes = lanes
        self._last = time.monotonic()
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        self._link = EngineLink(self._engines.address)
        await self._link.start()
        await self._link.wait_connected(20)
        self._account = await funded(self._link, "alice")
        self._last = time.monotonic()
        self._following = asyncio.create_task(self._follow())
        self._tasks = [asyncio.create_task(self._trade(lane)) for lane in range(self._lanes)]

    async def _follow(self) -> None:
        async for batch in follow_feed(self._engines.address, 1):
            self.feed.extend(happened.sequence for happened in batch)

    async def _trade(self, lane: int) -> None:
        standing: list[m.Order] = []
        for n in range(10**6):
            if self._stopping.is_set():
                return
            command = bid(self._account, lane * 10**6 + n)
            reply = (await self._link.send(command, timeout_s=60)).reply
            self._note()
            await asyncio.sleep(PAUSE_S)
            assert isinstance(reply, m.OrderPlaced), reply
            assert reply.order.client_order_id not in self.acknowledged
            self.acknowledged[reply.order.client_order_id] = reply.order.order_id
            standing.append(reply.order)
            if n % 10 == 9 or len(standing) > STANDING_MAX // self._lanes:
                order = standing.pop(0)
                canceled = (await self._link.send(m.CancelOrder(self._account, 1, order.order_id, "", "x"), 60)).reply
                assert isinstance(canceled, m.OrdersCanceled), canceled
                del self.acknowledged[order.client_order_id]

    def _note(self) -> None:
        now = time.monotonic()
        self.silence_s = max(self.silence_s, now - self._last)
        self._last = now
        self.replies += 1

    async def check(self) -> None:
        """Stop, and hold what stands against what was acknowledged."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        answer = await self._link.ask(m.AskOpenOrders(self._account, 1))
        assert isinstance(answer.answer, m.OpenOrders)
        found = {order.client_order_id: order.order_id for order in answer.answer.orders}
        assert len(found) == len(answer.answer.orders), "an order stands twice"
        assert found == self.acknowledged
        totals = (await self._link.ask(m.AskTotals())).answer
        assert isinstance(totals, m.Totals)
        assert all(users + house + outside == 0 for _, users, house, outside in totals.rows)
        deadline = time.monotonic() + 20
        while not self.feed or self.feed[-1] < answer.sequence:
            assert time.monotonic() < deadline, "the feed stands still"
            await asyncio.sleep(0.02)
        assert self.feed == list(range(1, self.feed[-1] + 1)), "the feed has a gap or repeats"
        self._following.cancel()
        await self._link.stop()
        assert self.replies > 50


def test_failover_after_kill_9_takes_less_than_five_seconds(tmp_path: Path, aws: dict[str, str]) -> None:
    async def scenario() -> None:
        async with pair(tmp_path / "engines", aws) as engines:
            load = Load(engines)
            await load.start()
            await asyncio.sleep(0.5)
            engines.end(await engines.leader(), signal.SIGKILL)
            await asyncio.sleep(EXPIRY_S + 1.5)
            await load.check()
            print(f"failover after {load.silence_s:.2f} s")
            assert EXPIRY_S * 0.5 < load.silence_s < 5

    asyncio.run(scenario())


def test_a_rolling_upgrade_loses_nothing_and_is_hardly_felt(tmp_path: Path, aws: dict[str, str]) -> None:
    async def scenario() -> None:
        async with pair(tmp_path / "engines", aws, LONG_EXPIRY_S) as engines:
            load = Load(engines)
            await load.start()
            for _ in range(4):  # each process is replaced, the leader first, so it leads twice in turn
                await asyncio.sleep(0.3)
                number = await engines.leader()
                assert engines.end(number, signal.SIGTERM) == 0
                assert await engines.leader() != number
                engines.start(number)
                await engines.wait_listening(number)
            await load.check()
            print(f"longest silence of a handover: {load.silence_s:.3f} s")
            assert load.silence_s < LONG_EXPIRY_S, "the lease was not handed over"

    asyncio.run(scenario())


def test_a_frozen_leader_that_wakes_up_acknowledges_nothing(tmp_path: Path, aws: dict[str, str]) -> None:
    async def scenario() -> None:
        async with pair(tmp_path / "engines", aws) as engines:
            load = Load(engines)
            await load.start()
            await asyncio.sleep(0.3)
            frozen = await engines.leader()
            engines.processes[frozen].send_signal(signal.SIGSTOP)
            await asyncio.sleep(EXPIRY_S * 2)  # the lease goes to the standby, the lock of the files does not
            engines.processes[frozen].send_signal(signal.SIGCONT)
            assert engines.processes[frozen].wait(20) == 1
            assert "LeaseLostError" in engines.log.read_text()
            assert await engines.leader() != frozen
            await load.check()

    asyncio.run(scenario())


def run_kills(directory: Path, aws: dict[str, str], seed: int, kills: int) -> dict[str, int]:
    """Kill leader, standby, or both, again and again, under load; return how often each was killed."""
    draw = random.Random(seed)
    counts = {"leader": 0, "standby": 0, "both": 0}

    async def scenario() -> None:
        async with pair(directory, aws) as engines:
            load = Load(engines)
            await load.start()
            while sum(counts.values()) < kills:
                await asyncio.sleep(draw.uniform(0.05, 0.4))
                leader = await engines.leader()
                victim = draw.choice(("leader", "leader", "standby", "both"))
                numbers = {"leader": [leader], "standby": [1 - leader], "both": [0, 1]}[victim]
                for number in numbers:
                    engines.end(number, signal.SIGKILL)
                counts[victim] += 1
                for number in numbers:
                    engines.start(number)
                for number in numbers:
                    await engines.wait_listening(number)
            await engines.leader()
            await asyncio.sleep(0.3)
            await load.check()
            print(f"seed {seed}: {counts}, {load.replies} replies, longest silence {load.silence_s:.2f} s")

    asyncio.run(scenario())
    return counts


def test_kill_9_of_leader_and_standby_loses_and_doubles_nothing(tmp_path: Path, aws: dict[str, str]) -> None:
    run_kills(tmp_path / "engines", aws, seed=3, kills=3)


@pytest.mark.soak
def test_many_kills_of_leader_and_standby(tmp_path: Path, aws: dict[str, str]) -> None:
    """BURSA_KILLS asks for a number; otherwise it is as many as fit the budget."""
    if asked := os.environ.get("BURSA_KILLS"):
        run_kills(tmp_path / "all", aws, seed=int(os.environ.get("BURSA_SEED", "1")), kills=int(asked))
        return
    for number, seed in enumerate(seeds(0.03)):
        run_kills(tmp_path / f"run{number}", aws, seed, kills=10)
