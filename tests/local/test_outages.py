"""Outages on purpose: who is away stays away for as long as asked, is told, and comes back by itself."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from local.outages import OutageError, Outages
from local.supervisor import State, Supervisor
from tests.local.test_supervisor import program, run, until


def test_an_outage_ends_by_itself_or_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outages = Outages(tmp_path / "outages")
    assert outages.present() == {}
    now_s = 1_000.0
    monkeypatch.setattr(time, "time", lambda: now_s)
    outages.begin("valkey", 60)
    assert outages.present() == {"valkey": 60.0}
    now_s += 59.5
    assert Outages(tmp_path / "outages").present() == {"valkey": 0.5}, "whoever looks sees the same"
    now_s += 0.5
    assert not outages.is_out("valkey")
    outages.begin("postgres", 60)
    outages.begin("postgres", 0)
    outages.begin("kinesis", 60)
    assert list(outages.present()) == ["kinesis"]
    outages.end_all()
    assert outages.present() == {}


@pytest.mark.parametrize(
    ("store", "seconds", "text"),
    [
        ("dynamodb", 1, "the store was 'dynamodb', allowed: kinesis, postgres, valkey"),
        ("../state", 1, "allowed: kinesis, postgres, valkey"),
        ("valkey", -1, "seconds were -1, allowed: 0 to 3600"),
        ("valkey", 3_601, "seconds were 3601, allowed: 0 to 3600"),
        ("valkey", float("nan"), "seconds were nan, allowed: 0 to 3600"),
    ],
)
def test_one_that_cannot_be_says_why(tmp_path: Path, store: str, seconds: float, text: str) -> None:
    with pytest.raises(OutageError) as caught:
        Outages(tmp_path).begin(store, seconds)
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_out_is_killed_and_stays_away(tmp_path: Path) -> None:
    outages = Outages(tmp_path / "outages")

    async def body(watched: Supervisor) -> None:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
        await watched.start(program("valkey", code, is_out=partial(outages.is_out, "valkey")))
        (process,) = watched.processes
        first = process.pid
        outages.begin("valkey", 60)
        await until(lambda: process.state is State.STOPPED)
        assert (process.pid, watched.is_healthy) == (0, False)
        await asyncio.sleep(1.5)  # longer than the first backoff
        assert process.state is State.STOPPED
        outages.begin("valkey", 0)
        await until(lambda: process.state is State.HEALTHY)
        assert (process.pid != first, process.restarts) == (True, 1)

    run(tmp_path, body)


def test_kinesis_answers_nothing_while_it_is_out(cloud: Cloud, tmp_path: Path) -> None:
    outages = Outages(tmp_path / "outages")
    cloud.take_out(outages.is_out)
    kinesis = cloud.client("kinesis")
    kinesis.create_stream(StreamName="trades", ShardCount=1)
    outages.begin("kinesis", 60)
    with pytest.raises(ClientError) as caught:
        kinesis.put_record(StreamName="trades", Data=b"x", PartitionKey="main")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    cloud.client("sqs").list_queues()  # others answer
    outages.begin("kinesis", 0)
    assert kinesis.put_record(StreamName="trades", Data=b"x", PartitionKey="main")["ShardId"]
