"""One contract for every driver of a log; Kafka over the wire, against librdkafka's mock cluster.

The mock cluster does not fence and forgets all but the newest megabytes, so nothing is claimed about MSK beyond what
the wire shows: fencing is proven by the rules that every reader applies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.engine.batch import Batch, marker_of
from runtime.engine.event_log import EventLog, FencedError, LogError, LogInUseError, Mark
from runtime.engine.file_log import FileLog
from runtime.engine.follower import Follower
from runtime.engine.kafka_log import KafkaCluster, KafkaLog
from runtime.engine.leader import Leader
from runtime.engine.memory_log import MemoryLog, MemoryTopic
from runtime.engine.object_store import MemoryStore
from runtime.engine.replica import Replica
from runtime.engine.snapshots import Snapshots
from tests.runtime.engine.flows import entries, opening, random_commands

Open = Callable[[str], EventLog]
"""Opens another object on the log of that name."""
DRIVERS = ("file", "memory", "kafka")


@pytest.fixture(scope="module")
def brokers() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.engine.mock_kafka"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    yield process.stdout.readline().strip(), process
    process.kill()
    process.wait()


def cluster(address: str) -> KafkaCluster:
    return KafkaCluster({"bootstrap.servers": address, "log_level": 0}, replication=1)


@pytest.fixture(params=DRIVERS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens logs of one driver; all that were opened are closed in the end."""
    opened: list[EventLog] = []
    topics: dict[str, MemoryTopic] = {}
    group = uuid.uuid4().hex[:8]

    def make(name: str) -> EventLog:
        derivable = name == "events"
        if request.param == "file":
            return FileLog(tmp_path / "logs", name, "main", derivable=derivable)
        if request.param == "memory":
            return MemoryLog(topics.setdefault(name, MemoryTopic()), "main")
        address, _ = request.getfixturevalue("brokers")
        return KafkaLog(cluster(address), f"{name}-{group}", "main", derivable=derivable)

    def open_one(name: str = "commands") -> EventLog:
        opened.append(make(name))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


def own(log: EventLog, epoch: int) -> None:
    """Become the writer, as a leader does."""
    list(log.read())
    log.acquire()
    list(log.read())
    log.begin(epoch, 1, b"")
    (marker,) = log.read()
    assert (marker.epoch, marker.count) == (epoch, 0)


def put(log: EventLog, count: int, body: bytes) -> None:
    log.append(log.chain.seal(7, count, body), log.chain.next_sequence - count)


def bodies(batches: list[Batch] | Iterator[Batch]) -> list[bytes]:
    return [batch.body for batch in batches if batch.count]


def test_what_was_appended_is_read_in_order_by_any_reader(opener: Open) -> None:
    writer, reader = opener("commands"), opener("commands")
    assert list(reader.read()) == []
    own(writer, 1)
    put(writer, 2, b"first")
    put(writer, 1, b"x" * 300_000)
    assert [(b.first_sequence, b.count, b.epoch) for b in reader.read()] == [(1, 0, 1), (1, 2, 1), (3, 1, 1)]
    assert list(reader.read()) == []
    for number in range(20):
        put(writer, 1, b"%d" % number)
    assert bodies(reader.read()) == [b"%d" % number for number in range(20)]
    assert reader.chain.next_sequence == writer.chain.next_sequence == 24
    assert reader.chain.hash == writer.chain.hash


def test_a_reader_goes_on_behind_a_mark_and_nowhere_else(opener: Open) -> None:
    writer = opener("commands")
    own(writer, 1)
    put(writer, 2, b"first")
    mark = writer.mark()
    put(writer, 1, b"second")
    reader, stranger = opener("commands"), opener("commands")
    reader.seek(mark)
    assert reader.mark() == mark
    assert bodies(reader.read()) == [b"second"]
    assert reader.chain.hash == writer.chain.hash
    stranger.seek(Mark(mark.position, 1, 3, b"another history!"))
    with pytest.raises(LogError, match="not of one history"):
        list(stranger.read())


def test_a_copy_taken_batch_by_batch_is_the_same_log(opener: Open) -> None:
    copy, reader = opener("restored"), opener("restored")
    for epoch in (1, 4):
        writer = opener("commands")
        own(writer, epoch)
        put(writer, 2, b"first of %d" % epoch)
        put(writer, 1, b"second of %d" % epoch)
        writer.close()
    original = list(opener("commands").read())
    copy.acquire()
    for batch in original:
        copy.take(batch)
    assert [batch.hash for batch in reader.read()] == [batch.hash for batch in original]
    assert reader.chain.hash == writer.chain.hash == copy.chain.hash
    copy.close()
    leader = opener("restored")
    own(leader, 5)
    put(leader, 1, b"goes on")
    assert bodies(reader.read()) == [b"goes on"]


def test_a_snapshot_beyond_the_end_of_the_log_is_refused(opener: Open) -> None:
    writer = opener("commands")
    own(writer, 1)
    put(writer, 2, b"first")
    segment, colon, last = writer.mark().position.rpartition(":")
    reader = opener("commands")
    reader.seek(Mark(f"{segment}{colon}{int(last) + 1000}", 1, 30, writer.chain.hash))
    with pytest.raises(LogError, match="not of one history"):
        list(reader.read())


def test_a_new_epoch_continues_the_chain_and_says_who_opened_it(opener: Open) -> None:
    first = opener("commands")
    own(first, 1)
    put(first, 1, b"a")
    first.close()
    second = opener("commands")
    list(second.read())
    second.acquire()
    with pytest.raises(LogError, match="must be above"):
        second.begin(1, 1, b"")
    second.close()
    third = opener("commands")
    list(third.read())
    third.acquire()
    third.begin(5, 1, b"\x91\xa5alpha")
    markers = [marker_of(batch) for batch in third.read()]
    assert [marker.member for marker in markers if marker] == ["alpha"]
    put(third, 1, b"b")
    assert bodies(opener("commands").read()) == [b"a", b"b"]


def test_batches_are_found_by_sequence(opener: Open) -> None:
    writer = opener("events")
    own(writer, 1)
    for number in range(150):
        put(writer, 2, b"%03d" % number)
    deadline = time.monotonic() + 10
    while len(bodies(writer.read_from(1, 10**6))) < 150:  # a derivable log may be on its way still
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for sequence in (1, 2, 3, 150, 299, 300):
        (batch, *_rest) = writer.read_from(sequence, 1)
        assert batch.first_sequence <= sequence < batch.next_sequence
        assert batch.body == b"%03d" % ((sequence - 1) // 2)
    assert len(writer.read_from(1, 30)) == 10
    assert bodies(writer.read_from(201, 10**6)) == [b"%03d" % number for number in range(100, 150)]
    assert writer.read_from(301, 100) == []
    late = opener("events")
    assert bodies(late.read_from(7, 3)) == [b"003"]


def test_a_leader_and_a_standby_agree_whatever_the_driver(opener: Open) -> None:
    snapshots = Snapshots(MemoryStore(), "main")
    standby = Follower("main", opener("commands"), opener("events"), snapshots, clock=lambda: 1)
    standby.start()
    leader = Leader(Follower("main", opener("commands"), opener("events"), snapshots, clock=lambda: 1), "first")
    leader.take_over(3)
    expected = Replica()
    stream = list(entries(iter([*opening(2), *random_commands(5, 200, 2)])))
    for at in range(0, len(stream), 16):
        batch = stream[at : at + 16]
        sealed = leader.seal(batch)
        leader.make_durable(sealed)
        replies = leader.apply(sealed)
        assert replies == [expected.apply(sealed.time_us, entry)[0] for entry in batch]
        standby.catch_up()
        if at == 96:
            standby.read_events()
            taken = leader.snapshot()
            assert taken
            snapshots.save(*taken)
    assert standby.replica.state_hash() == leader.replica.state_hash() == expected.state_hash()
    leader.close()
    promoted = Leader(standby, "second")
    promoted.take_over(2)
    assert promoted.epoch == 4
    assert promoted.replica.state_hash() == expected.state_hash()
    again = Follower("main", opener("commands"), opener("events"), snapshots)
    again.start()
    assert again.replica.state_hash() == expected.state_hash()
    assert again.published == promoted.replica.sequence == len(stream)
    found: list[int] = []
    while more := promoted.logged_from(len(found) + 1):
        found += [n for batch in more for n in range(batch.first, batch.following)]
    assert found == list(range(1, len(stream) + 1))


def test_an_older_writer_is_fenced_or_the_newer_waits(opener: Open, request: pytest.FixtureRequest) -> None:
    old, new = opener("commands"), opener("commands")
    own(old, 1)
    put(old, 1, b"a")
    list(new.read())
    if request.node.callspec.params["opener"] == "file":
        with pytest.raises(LogInUseError, match="another process leads"):
            new.acquire()
        return
    own(new, 2)
    if request.node.callspec.params["opener"] == "memory":
        with pytest.raises(FencedError):
            put(old, 1, b"stale")
    put(new, 1, b"b")
    assert bodies(opener("commands").read()) == [b"a", b"b"]


def test_what_a_writer_that_nobody_fenced_appends_is_dropped_by_every_reader() -> None:
    topic = MemoryTopic(fences=False)
    old, new = MemoryLog(topic, "main"), MemoryLog(topic, "main")
    own(old, 1)
    put(old, 1, b"a")
    own(new, 2)
    put(old, 1, b"stale")
    put(new, 1, b"b")
    put(old, 1, b"staler")
    reader = MemoryLog(topic, "main")
    assert bodies(reader.read()) == [b"a", b"b"]
    assert reader.dropped == 2


def test_a_marker_that_an_older_writer_overtook_is_written_again() -> None:
    topic, events = MemoryTopic(fences=False), MemoryTopic()
    first = Leader(Follower("main", MemoryLog(topic, "main"), MemoryLog(events, "main")), "old")
    first.take_over()
    second = Follower("main", MemoryLog(topic, "main"), MemoryLog(events, "main"))
    begin = second.journal.begin

    def overtaken(epoch: int, time_us: int, body: bytes) -> None:
        if len(topic.records) < 3:  # once: the older leader gets one more batch in
            first.make_durable(first.seal(list(entries(opening(1)))[:1]))
        begin(epoch, time_us, body)

    second.journal.begin = overtaken  # type: ignore[method-assign]
    leader = Leader(second, "new")
    leader.take_over()
    assert leader.replica.sequence == 1
    assert leader.journal.chain.epoch == 2
    reader = MemoryLog(topic, "main")
    assert [batch.epoch for batch in reader.read()] == [1, 1, 2]


@pytest.mark.parametrize("stall_s", [2.5])
def test_kafka_goes_on_after_brokers_stood_still(brokers: tuple[str, subprocess.Popen[str]], stall_s: float) -> None:
    address, process = brokers
    settings = {
        "bootstrap.servers": address,
        "log_level": 0,
        "socket.timeout.ms": 1000,
        "reconnect.backoff.max.ms": 200,
    }
    log = KafkaLog(KafkaCluster(settings, replication=1), f"stall-{uuid.uuid4().hex[:8]}", "main")
    own(log, 1)
    put(log, 1, b"before")
    os.kill(process.pid, signal.SIGSTOP)
    threading.Timer(stall_s, lambda: os.kill(process.pid, signal.SIGCONT)).start()
    started = time.monotonic()
    put(log, 1, b"during")
    assert time.monotonic() - started > stall_s / 2
    for number in range(50):
        put(log, 1, b"after %d" % number)
    reader = KafkaLog(cluster(address), log._topic.removesuffix("-main"), "main")
    assert bodies(reader.read()) == [b"before", b"during", *(b"after %d" % number for number in range(50))]
    reader.close()
    log.close()


def test_kafka_that_does_not_answer_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.engine.kafka_log.ANSWER_TIMEOUT_S", 0.5)
    with pytest.raises(LogError, match="commands-main"):
        KafkaLog(cluster("127.0.0.1:1"), "commands", "main")


def test_msk_is_entered_by_iam_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kafka:
        def get_bootstrap_brokers(self, ClusterArn: str) -> dict[str, str]:  # noqa: N803 - boto3's name
            assert ClusterArn == arn
            return {"BootstrapBrokerStringSaslIam": "b-1:9098,b-2:9098"}

    arn = "arn:aws:kafka:ap-southeast-3:123456789012:cluster/Journal/0"
    monkeypatch.setattr("runtime.engine.kafka_log.boto3.client", lambda _name: Kafka())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    settings = KafkaCluster.of_msk(arn).settings
    assert settings["bootstrap.servers"] == "b-1:9098,b-2:9098"
    assert (settings["security.protocol"], settings["sasl.mechanisms"]) == ("SASL_SSL", "OAUTHBEARER")
    token, expires_s = settings["oauth_cb"]("")
    assert 60 < expires_s - time.time() < 3600
    assert token
    KafkaCluster(settings).producer("id").poll(0)  # the library knows every setting
    KafkaCluster(settings).consumer().close()


FORMAT_1 = Path(__file__).parent / "format1"


def test_a_journal_of_format_1_is_read_continued_in_format_2_and_read_again(tmp_path: Path) -> None:
    for path in FORMAT_1.glob("*.log"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    journal = FileLog(tmp_path, "commands", "main")
    assert {batch.format for batch in journal.read()} == {1}
    leader = Leader(Follower.of_files(tmp_path, "main"), "upgraded")
    leader.take_over()
    assert (leader.epoch, leader.replica.sequence) == (2, 721)
    more = list(entries(random_commands(8, 20, 2), "later"))
    sealed = leader.seal(more)
    leader.make_durable(sealed)
    leader.apply(sealed)
    state = leader.replica.state_hash()
    leader.close()
    again = Follower.of_files(tmp_path, "main")
    again.start()
    assert again.replica.state_hash() == state
    assert [batch.format for batch in FileLog(tmp_path, "commands", "main").read()][-2:] == [2, 2]


def test_a_journal_of_a_newer_program_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.engine.batch.FORMAT", 3)
    log = FileLog(tmp_path, "commands", "main")
    log.acquire()
    log.begin(1, 1, b"")
    with pytest.raises(LogError, match="format 3, written by a newer program; this one reads 1 and 2"):
        list(log.read())
    log.close()
