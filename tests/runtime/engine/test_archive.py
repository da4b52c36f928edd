"""The copy of the journal is the journal, whoever made it and however often they died; what is no copy is refused."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from runtime.engine import archive as module
from runtime.engine import journal
from runtime.engine.archive import PREFIX, Archive, Archiver, Segment, keep_copying
from runtime.engine.event_log import EventLog, LogError, Mark
from runtime.engine.file_log import FileLog
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.memory_log import MemoryLog, MemoryTopic
from runtime.engine.object_store import FolderStore, MemoryStore, ObjectStore, S3Store
from tests.runtime.engine.flows import entries, opening, random_commands

REGION = "ap-southeast-3"
BUCKET = "archive"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield BUCKET


class Clock:
    """A time that moves when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def history(directory: Path, seed: int, *, epochs: int = 3, commands: int = 60) -> Iterator[Leader]:
    """Lead through a random stream in several epochs; yield after every batch, which is durable by then."""
    stream = list(entries(iter([*opening(2), *random_commands(seed, commands, 2)])))
    share = len(stream) // epochs + 1
    for epoch in range(epochs):
        follower = Follower.of_files(directory, "main", clock=lambda: 1)
        follower.start()
        leader = Leader(follower, f"leader{epoch}")
        leader.take_over()
        for at in range(epoch * share, min(len(stream), (epoch + 1) * share), 4):
            sealed = leader.seal(stream[at : min(at + 4, (epoch + 1) * share)])
            leader.make_durable(sealed)
            leader.apply(sealed)
            yield leader
        leader.close()


def reader(directory: Path) -> FileLog:
    return FileLog(directory, "commands", "main")


def copied_whole(directory: Path, store: ObjectStore, clock: Clock | None = None) -> None:
    """Copy all there is by an archiver of its own."""
    clock = clock or Clock()
    archiver = Archiver(reader(directory), Archive(store, "main"), clock)
    archiver.step()
    clock.now += module.SEGMENT_S
    archiver.step()


@pytest.mark.parametrize("seed", range(8))
def test_copies_of_many_that_die_and_race_are_one_copy(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, store, clock = random.Random(seed), MemoryStore(), Clock()
    monkeypatch.setattr(module, "SEGMENT_BYTES", 900)

    def fresh() -> Archiver:
        return Archiver(reader(tmp_path), Archive(store, "main"), clock)

    archivers = [fresh(), fresh()]
    newest: list[Leader] = []
    for leader in history(tmp_path, seed):
        newest = [leader]
        clock.now += drawn.choice((0.0, 1.0, module.SEGMENT_S))
        for at in range(2):
            if drawn.random() < 0.2:
                archivers[at] = fresh()
            if drawn.random() < 0.6:
                archivers[at].step()
    copied_whole(tmp_path, store, clock)
    (leader,) = newest
    assert len(store.objects) > 1
    copy, original = Archive(store, "main"), reader(tmp_path)
    assert [batch.hash for batch in copy.read()] == [batch.hash for batch in original.read()]
    assert copy.chain.next_sequence == leader.replica.sequence + 1
    restored = tmp_path / "restored"
    target = reader(restored)
    target.acquire()
    for batch in Archive(store, "main").read():
        target.take(batch)
    target.close()
    files = {path.name: path.read_bytes() for path in tmp_path.glob("commands-*.log")}
    assert {path.name: path.read_bytes() for path in restored.glob("commands-*.log")} == files
    follower = Follower.of_files(restored, "main", clock=lambda: 1)
    follower.start()
    assert follower.replica.state_hash() == leader.replica.state_hash()


def test_whoever_comes_second_goes_on_behind_the_first(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    first, second = (Archiver(reader(tmp_path), Archive(store, "main"), clock) for _ in range(2))
    for number, _ in enumerate(history(tmp_path, 1)):
        if number == 3:
            first.step()
        if number == 6:
            second.step()
            clock.now += module.SEGMENT_S
            first.step()
        if number == 9:
            second.step()
            assert len(store.objects) == 1, "the first has stored what begins there"
    clock.now += module.SEGMENT_S
    second.step()
    clock.now += module.SEGMENT_S
    second.step()
    first.step()
    assert len(store.objects) == 2
    assert [batch.hash for batch in Archive(store, "main").read()] == [batch.hash for batch in reader(tmp_path).read()]


def test_a_segment_waits_for_its_time_or_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = MemoryStore(), Clock()
    archiver = Archiver(reader(tmp_path), Archive(store, "main"), clock)
    list(history(tmp_path, 1))
    assert not archiver.step()
    clock.now += module.SEGMENT_S - 1
    assert not archiver.step()
    assert not store.objects
    clock.now += 1
    assert not archiver.step()
    assert len(store.objects) == 1
    clock.now += module.SEGMENT_S
    assert not archiver.step(), "nothing is new"
    assert len(store.objects) == 1
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1)
    hasty = Archiver(reader(tmp_path), Archive(MemoryStore(), "main"), clock)
    assert hasty.step(), "more is due at once"


def test_what_a_power_cut_could_take_back_is_synced_first(tmp_path: Path) -> None:
    list(history(tmp_path, 1))
    journal_of, store = reader(tmp_path), MemoryStore()
    asked: list[int] = []
    journal_of.sync = lambda: asked.append(len(store.objects))  # type: ignore[method-assign]
    clock = Clock()
    archiver = Archiver(journal_of, Archive(store, "main"), clock)
    archiver.step()
    clock.now += module.SEGMENT_S
    archiver.step()
    assert (asked, len(store.objects)) == ([0], 1)


def test_a_journal_of_another_history_is_not_mixed_in(tmp_path: Path) -> None:
    store = MemoryStore()
    list(history(tmp_path / "one", 1))
    copied_whole(tmp_path / "one", store)
    before = dict(store.objects)
    list(history(tmp_path / "other", 2, commands=300))
    with pytest.raises(LogError, match="not of one history"):
        copied_whole(tmp_path / "other", store)
    assert store.objects == before


def test_a_copy_that_was_tampered_with_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 600)
    list(history(tmp_path, 3))
    store = MemoryStore()
    while Archiver(reader(tmp_path), Archive(store, "main")).step():
        pass
    names = store.names(PREFIX)
    assert len(names) > 2

    def refusal(change: dict[str, bytes | None], group: str = "main") -> str:
        changed = MemoryStore()
        changed.objects = {name: data for name, data in (store.objects | change).items() if data is not None}
        with pytest.raises(LogError) as caught:
            list(Archive(changed, group).read())
        return str(caught.value)

    middle = store.objects[names[1]]
    assert "whose digest does not hold" in refusal({names[1]: middle[:50] + bytes([middle[50] ^ 1]) + middle[51:]})
    assert "whose digest does not hold" in refusal({names[1]: middle[:-1]})
    assert "whose digest does not hold" in refusal({names[1]: b""})
    assert "expected" in refusal({names[1]: None}), "a segment is missing"
    assert "expected" in refusal({names[1]: store.objects[names[2]]})
    elsewhere = names[0].replace("/main/", "/other/")
    assert "of group 'main', not of 'other'" in refusal({elsewhere: store.objects[names[0]]}, "other")


@pytest.mark.parametrize("kind", ["memory", "folder", "s3"])
def test_no_name_is_written_twice(kind: str, tmp_path: Path, bucket: str) -> None:
    store: ObjectStore = MemoryStore()
    if kind == "folder":
        store = FolderStore(tmp_path / "objects")
    elif kind == "s3":
        store = S3Store(bucket, boto3.client("s3"))
    assert store.add("journal/main/1", b"first")
    assert not store.add("journal/main/1", b"second")
    assert store.read("journal/main/1") == b"first"
    assert store.names("journal/") == ["journal/main/1"]
    store.write("journal/main/1", b"third")
    assert store.read("journal/main/1") == b"third"


def test_a_log_takes_nothing_that_does_not_continue_it(tmp_path: Path) -> None:
    list(history(tmp_path / "from", 1))
    batches = list(reader(tmp_path / "from").read())
    logs: list[EventLog] = [reader(tmp_path / "to"), MemoryLog(MemoryTopic(), "main")]
    for target in logs:
        target.acquire()
        with pytest.raises(LogError):
            target.take(batches[1])
        target.take(batches[0])
        with pytest.raises(LogError):
            target.take(batches[0])
        with pytest.raises(LogError, match="expected"):
            target.take(batches[2])
        target.take(batches[1])


def test_copying_goes_on_after_a_failure_and_ends_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "SEGMENT_S", 0.0)
    list(history(tmp_path, 1))
    store = MemoryStore()
    failures = [OSError("no store"), LogError("no journal")]

    class Failing(Archive):
        def add(self, segment: Segment, batches: list[object]) -> Mark:  # type: ignore[override]
            if failures:
                raise failures.pop()
            return super().add(segment, batches)  # type: ignore[arg-type]

    async def scenario() -> None:
        stopping = asyncio.Event()
        task = asyncio.create_task(keep_copying(Archiver(reader(tmp_path), Failing(store, "main")), stopping))
        async with asyncio.timeout(10):
            while not store.objects:  # noqa: ASYNC110 - a thread fills it
                await asyncio.sleep(0.01)
        stopping.set()
        await asyncio.wait_for(task, 5)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert caplog.text.count("the journal is not copied to the archive") == 2
    assert len(list(Archive(store, "main").read())) == len(list(reader(tmp_path).read()))


# ---- the tool --------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str, str]:
    out, told = io.StringIO(), io.StringIO()
    return journal.main(list(arguments), out, told), out.getvalue(), told.getvalue()


def test_a_journal_comes_back_from_the_archive(tmp_path: Path, bucket: str) -> None:
    lost, back = tmp_path / "lost", tmp_path / "back"
    *_, leader = history(lost, 4)
    copied_whole(lost, S3Store(bucket, boto3.client("s3")))
    code, out, _ = run("verify", "--archive-bucket", bucket, "--replay")
    assert (code, f"state {leader.replica.state_hash()}" in out) == (0, True)
    code, out, told = run("restore", "--archive-bucket", bucket, "--directory", str(back))
    assert (code, told) == (0, "")
    assert f"to sequence {leader.replica.sequence:,}, hash {reader_hash(lost)}" in out
    for arguments in (("inspect", "--json"), ("export",), ("verify", "--replay")):
        from_files, from_archive = (
            run(arguments[0], *place, *arguments[1:])
            for place in (("--directory", str(back)), ("--archive-bucket", bucket))
        )
        assert from_files == from_archive
        assert from_files[0] == 0
    assert len(json.loads(run("inspect", "--archive-bucket", bucket, "--json")[1])["epochs"]) == 3


def reader_hash(directory: Path) -> str:
    log = reader(directory)
    list(log.read())
    return log.chain.hash.hex()


def test_a_restore_fills_no_journal_that_is_there_and_names_what_is_wrong(tmp_path: Path, bucket: str) -> None:
    list(history(tmp_path, 4))
    copied_whole(tmp_path, S3Store(bucket, boto3.client("s3")))
    before = reader_hash(tmp_path)
    code, _, told = run("restore", "--archive-bucket", bucket, "--directory", str(tmp_path))
    assert (code, f"{tmp_path} holds a journal; a restore begins with an empty one" in told) == (2, True)
    assert reader_hash(tmp_path) == before
    code, _, told = run("restore", "--archive-bucket", "nowhere", "--directory", str(tmp_path / "new"))
    assert (code, "NoSuchBucket" in told) == (2, True)
    code, _, told = run("verify", "--archive-bucket", bucket, "--log", "events")
    assert (code, "the archive holds commands" in told) == (2, True)
    code, _, told = run("restore", "--archive-bucket", bucket, "--group", "other", "--directory", str(tmp_path / "x"))
    assert (code, "holds nothing of group 'other'" in told) == (2, True)
    name = boto3.client("s3").list_objects_v2(Bucket=bucket)["Contents"][0]["Key"]
    boto3.client("s3").put_object(Bucket=bucket, Key=name, Body=b"damaged")
    code, _, told = run("restore", "--archive-bucket", bucket, "--directory", str(tmp_path / "new"))
    assert (code, told.startswith(f"does not verify: {name}: damaged")) == (1, True)


def test_marks_of_a_copy_are_those_of_its_journal(tmp_path: Path) -> None:
    list(history(tmp_path, 1))
    store = MemoryStore()
    copied_whole(tmp_path, store)
    log = reader(tmp_path)
    list(log.read())
    assert Archive(store, "main").end() == log.mark() != Mark("", 0, 1, b"")
