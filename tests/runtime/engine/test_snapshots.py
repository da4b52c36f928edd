"""A start from a snapshot equals a start from nothing; what cannot be trusted is passed over, loudly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import boto3
import msgspec
import pytest
from moto import mock_aws

from runtime.engine.event_log import LogError, Mark
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.object_store import FolderStore, MemoryStore, ObjectStore, S3Store
from runtime.engine.replica import SnapshotError
from runtime.engine.snapshots import Snapshots, pack, unpack
from tests.runtime.engine.flows import entries, opening, random_commands


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "folder":
        yield FolderStore(tmp_path / "snapshots")
    else:
        with mock_aws():
            client = boto3.client("s3", region_name="ap-southeast-3")
            client.create_bucket(Bucket="snapshots", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-3"})
            yield S3Store("snapshots", client)


def run(directory: Path, snapshots: Snapshots | None, *, seed: int, every: int = 40) -> Leader:
    """Lead through a random stream, with a snapshot now and then; leave the logs as a kill would."""
    leader = Leader(Follower.of_files(directory, "main", snapshots, clock=lambda: 1))
    leader.take_over()
    stream = list(entries(iter([*opening(2), *random_commands(seed, 200, 2)])))
    for at in range(0, len(stream), 8):
        sealed = leader.seal(stream[at : at + 8])
        leader.make_durable(sealed)
        leader.apply(sealed)
        if snapshots and at % every == 0 and (taken := leader.snapshot()):
            snapshots.save(*taken)
    return leader


def started(directory: Path, snapshots: Snapshots | None) -> Follower:
    follower = Follower.of_files(directory, "main", snapshots, clock=lambda: 1)
    follower.start()
    return follower


def test_a_start_from_any_snapshot_equals_a_start_from_nothing(tmp_path: Path, store: ObjectStore) -> None:
    snapshots = Snapshots(store, "main")
    leader = run(tmp_path / "logs", snapshots, seed=1)
    expected = leader.replica.state_hash()
    names = store.names("main/")
    assert len(names) >= 5
    assert snapshots.newest_sequence() == int(names[-1].split("/")[1].split(".")[0])
    for name in reversed(names):
        alone = MemoryStore()
        alone.write(name, store.read(name))
        follower = Follower.of_files(tmp_path / "logs", "main", Snapshots(alone, "main"))
        follower._restore()
        assert follower.replica.sequence == int(name.split("/")[1].split(".")[0])
        follower.start()
        assert follower.replica.state_hash() == expected
    assert started(tmp_path / "logs", None).replica.state_hash() == expected


def test_a_leader_that_started_from_a_snapshot_serves_old_events_too(tmp_path: Path) -> None:
    snapshots = Snapshots(MemoryStore(), "main")
    run(tmp_path, snapshots, seed=2).close()
    leader = Leader(started(tmp_path, snapshots))
    leader.take_over()
    found: list[int] = []
    while more := leader.logged_from(len(found) + 1):
        found += [n for batch in more for n in range(max(batch.first, len(found) + 1), batch.following)]
    assert found == list(range(1, leader.replica.sequence + 1))
    leader.close()


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "foreign"])
def test_an_unreadable_snapshot_gives_way_to_the_one_before_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    store = MemoryStore()
    expected = run(tmp_path, Snapshots(store, "main"), seed=3).replica.state_hash()
    before, newest = sorted(store.objects)[-2:]
    data = store.objects[newest]
    store.objects[newest] = {
        "torn": data[: len(data) // 2],
        "flipped": data[:50] + bytes([data[50] ^ 1]) + data[51:],
        "empty": b"",
        "foreign": b"BRSS" + data[4:].replace(b"main", b"mane"),
    }[damage]
    with caplog.at_level(logging.ERROR):
        follower = Follower.of_files(tmp_path, "main", Snapshots(store, "main"))
        follower._restore()
    assert f"snapshot {newest} is passed over" in caplog.text
    assert follower.replica.sequence == int(before.split("/")[1].split(".")[0])
    follower.start()
    assert follower.replica.state_hash() == expected


def test_a_snapshot_must_name_its_own_sequence(tmp_path: Path) -> None:
    leader = run(tmp_path, None, seed=4)
    taken = leader.snapshot()
    assert taken
    snapshot, state = taken
    assert unpack(pack(snapshot, state), "main")[1].state_hash() == snapshot.state_hash == leader.replica.state_hash()
    journal = snapshot.journal
    for wrong in (
        msgspec.structs.replace(snapshot, sequence=snapshot.sequence - 1),
        msgspec.structs.replace(
            snapshot, journal=Mark(journal.position, journal.epoch, journal.next_sequence - 3, journal.hash)
        ),
    ):
        with pytest.raises(SnapshotError, match="the journal goes on with"):
            unpack(pack(wrong, state), "main")
    with pytest.raises(SnapshotError, match="the hash that its header names"):
        unpack(pack(msgspec.structs.replace(snapshot, state_hash="0" * 64), state), "main")


def test_snapshots_of_another_history_are_refused_with_what_to_do(tmp_path: Path) -> None:
    snapshots = Snapshots(MemoryStore(), "main")
    run(tmp_path / "one", snapshots, seed=5)
    run(tmp_path / "two", None, seed=6)
    for path in (tmp_path / "one").glob("events-*"):
        (tmp_path / "two" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(LogError, match=r"not of one history.*move the snapshots away"):
        started(tmp_path / "two", snapshots)


def test_a_snapshot_whose_events_are_lost_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    snapshots = Snapshots(MemoryStore(), "main")
    leader = run(tmp_path, snapshots, seed=7)
    expected, last = leader.replica.state_hash(), leader.replica.sequence
    leader.close()
    for path in tmp_path.glob("events-*.log"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    leader = Leader(started(tmp_path, snapshots))
    assert "is passed over" in caplog.text
    leader.take_over()
    assert leader.replica.state_hash() == expected
    found: list[int] = []
    while more := leader.logged_from(len(found) + 1):
        found += [n for batch in more for n in range(batch.first, batch.following)]
    assert found == list(range(1, last + 1))
    leader.close()


def test_no_snapshot_is_taken_of_what_is_not_published(tmp_path: Path) -> None:
    leader = run(tmp_path, None, seed=8)
    for path in tmp_path.glob("events-*.log"):
        path.unlink()
    follower = started(tmp_path, None)
    assert follower.replica.sequence == leader.replica.sequence
    assert follower.snapshot() is None
