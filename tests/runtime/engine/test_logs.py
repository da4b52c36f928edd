"""The journal survives a crash at any byte, refuses every other damage, and lets one process lead."""

import random
from pathlib import Path

import pytest

from runtime.engine.batch import BatchError, Chain, parse_batch
from runtime.engine.event_log import LogError, LogInUseError
from runtime.engine.file_log import READ_BYTES_LEAST, Disk, FileLog
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.shared import messages as m
from tests.runtime.engine.flows import CONFIGURE, entries, opening, random_commands


def lead(directory: Path) -> Leader:
    leader = candidate(directory)
    leader.take_over()
    return leader


def refused(directory: Path) -> None:
    """Take over what must not be taken over."""
    leader = candidate(directory)
    try:
        leader.take_over()
    finally:
        leader.close()


def candidate(directory: Path) -> Leader:
    follower = Follower.of_files(directory, "main", clock=lambda: 1)
    follower.start()
    return Leader(follower)


def commit(leader: Leader, batch: list[m.Entry]) -> list[m.Replied]:
    sealed = leader.seal(batch)
    leader.make_durable(sealed)
    return leader.apply(sealed)


def batches(seed: int, count: int) -> list[list[m.Entry]]:
    draw = random.Random(seed)
    stream = list(entries(iter([*opening(2), *random_commands(seed, count, 2)])))
    cuts = sorted(draw.sample(range(1, len(stream)), len(stream) // 4))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def segment(directory: Path, name: str = "commands") -> Path:
    return max(directory.glob(f"{name}-*.log"))


def everything(leader: Leader) -> list[m.Happened]:
    found: list[m.Happened] = []
    while more := leader.logged_from(len(found) + 1):
        found += [h for batch in more for h in m.decode_feed(batch.payload) if h.sequence > len(found)]
    return found


def test_a_restart_continues_where_it_stopped(tmp_path: Path) -> None:
    work = batches(1, 200)
    leader = lead(tmp_path)
    for batch in work[: len(work) // 2]:
        commit(leader, batch)
    before = leader.replica.state_hash()
    leader.close()
    leader = lead(tmp_path)
    assert leader.epoch == 2
    assert leader.replica.state_hash() == before
    for batch in work[len(work) // 2 :]:
        commit(leader, batch)
    events = everything(leader)
    assert [h.sequence for h in events] == list(range(1, leader.replica.sequence + 1))
    whole = lead(tmp_path / "other")
    for batch in work:
        commit(whole, batch)
    assert [h.events for h in everything(whole)] == [h.events for h in events]


@pytest.mark.parametrize("seed", range(4))
def test_torn_at_any_byte_keeps_every_durable_batch(tmp_path: Path, seed: int) -> None:
    work = batches(seed, 60)
    leader = lead(tmp_path)
    for batch in work[:-1]:
        commit(leader, batch)
    durable = leader.replica.state_hash()
    data = leader.seal(work[-1]).data
    leader.close()
    path = segment(tmp_path)
    intact = path.read_bytes()
    events = segment(tmp_path, "events").read_bytes()
    missing = len(data.rstrip(b"\0"))  # zeros that are missing are there all the same: files are preallocated
    for length in range(0, missing, max(1, len(data) // 25)):
        directory = tmp_path / f"cut{length}"
        directory.mkdir()
        (directory / path.name).write_bytes(intact + data[:length] + bytes(100))
        (directory / "events-0000000001.log").write_bytes(events[: len(events) - length])
        recovered = lead(directory)
        assert recovered.replica.state_hash() == durable
        assert [h.sequence for h in everything(recovered)] == list(range(1, recovered.replica.sequence + 1))
        replies = commit(recovered, work[-1])
        assert [reply.n for reply in replies] == [entry.n for entry in work[-1]]
        recovered.close()


def test_a_write_under_way_costs_a_reader_little(tmp_path: Path) -> None:
    class Counting(Disk):
        bytes_read = 0

        def read(self, file: int, size: int, offset: int) -> bytes:
            found = super().read(file, size, offset)
            self.bytes_read += len(found)
            return found

    leader = lead(tmp_path)
    commit(leader, list(entries(opening(2))))
    log, data = leader.journal, leader.seal([m.Entry("session", 1, 0, m.PassTime())]).data
    assert isinstance(log, FileLog)
    log._disk.write(log._file, data[: data.index(b"session")], log._written)
    disk = Counting()
    assert [batch.count for batch in FileLog(tmp_path, "commands", "main", disk=disk).read()][-1] > 0
    assert disk.bytes_read < 8 * READ_BYTES_LEAST, "the rest of the segment is preallocated, and no batch"
    leader.close()


def test_damage_that_no_crash_can_cause_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    leader = lead(tmp_path)
    for batch in batches(3, 60):
        commit(leader, batch)
    leader.close()
    path = segment(tmp_path)
    intact = path.read_bytes()
    draw = random.Random(5)
    for _ in range(40):
        at = draw.randrange(len(intact) * 2 // 3)
        path.write_bytes(intact[:at] + bytes([intact[at] ^ (1 << draw.randrange(8))]) + intact[at + 1 :])
        damaged = path.read_bytes()
        with pytest.raises(LogError, match=path.name):
            refused(tmp_path)
        assert path.read_bytes() == damaged


def test_a_second_leader_is_refused(tmp_path: Path) -> None:
    leader = lead(tmp_path)
    other = candidate(tmp_path)
    with pytest.raises(LogInUseError, match="another process leads"):
        other.take_over()
    leader.close()
    other.take_over()
    other.close()


def test_a_lost_event_log_is_written_again(tmp_path: Path) -> None:
    leader = lead(tmp_path)
    for batch in batches(9, 300):
        commit(leader, batch)
    before = everything(leader)
    leader.close()
    for path in tmp_path.glob("events-*.log"):
        path.unlink()
    leader = lead(tmp_path)
    assert everything(leader) == before


def test_a_chain_accepts_only_its_own_continuation() -> None:
    writer, reader = Chain("main"), Chain("main")
    writer.epoch = 3
    first, second = writer.seal(1, 2, b"ab"), writer.seal(2, 1, b"c")
    parsed = parse_batch(first + second, 0)
    assert parsed
    batch, end = parsed
    following = parse_batch(first + second, end)
    assert following
    with pytest.raises(BatchError, match="expected 1"):
        reader.accept(following[0])
    reader.accept(batch)
    with pytest.raises(BatchError, match="expected 3"):
        reader.accept(batch)
    zombie = Chain("main")
    zombie.epoch, zombie.next_sequence, zombie.hash = 2, 3, reader.hash
    stale = parse_batch(zombie.seal(9, 1, b"z"), 0)
    assert stale
    with pytest.raises(BatchError, match="fenced"):
        reader.accept(stale[0])
    stranger = Chain("other")
    stranger.epoch, stranger.next_sequence, stranger.hash = 3, 3, reader.hash
    foreign = parse_batch(stranger.seal(9, 1, b"z"), 0)
    assert foreign
    with pytest.raises(BatchError, match="group"):
        reader.accept(foreign[0])
    reader.accept(following[0])


def test_the_group_name_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="1 to 16 bytes"):
        FileLog(tmp_path, "commands", "x" * 17)


def test_refusing_to_lead_changes_no_byte_of_the_journal(tmp_path: Path) -> None:
    leader = lead(tmp_path)
    for batch in batches(4, 60):
        commit(leader, batch)
    leader.close()
    path = segment(tmp_path)
    intact = path.read_bytes()
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))  # the last batch, whose events are out already
    damaged = path.read_bytes()
    other = candidate(tmp_path)
    with pytest.raises(LogError, match="the event log is at sequence"):
        other.take_over()
    other.close()
    assert path.read_bytes() == damaged


def test_the_largest_command_and_its_recovery_fit_the_logs(tmp_path: Path) -> None:
    leader = lead(tmp_path)
    account = m.FIRST_USER_ACCOUNT
    client = "x" * 32
    commit(leader, list(entries(opening(2), "open")))
    tier = max(CONFIGURE.tiers, key=lambda tier: tier.open_orders_factor)
    commit(leader, [m.Entry("tier", 1, 0, m.OpenAccount("user0", tier.id))])
    most = CONFIGURE.markets[1].open_orders_max * tier.open_orders_factor
    sent = 0
    for start in range(0, most + 1, 1000):
        orders = [
            m.PlaceOrder(account, 2, m.BUY, m.LIMIT, m.GTC, 100_000 + n, 100, 0, f"{client}{n:04x}", 0)
            for n in range(start, min(start + 1000, most + 1))
        ]
        batch = [m.Entry("many", sent + n, sent + n - 1, order) for n, order in enumerate(orders, 1)]
        sent += len(batch)
        replies = commit(leader, batch)
    assert replies[-1].reply == m.Rejected(m.TOO_MANY_ORDERS, str(most))
    sweep = m.PlaceOrder(account + 1, 2, m.SELL, m.LIMIT, m.IOC, 100_000, 100 * most, 0, "sweep", 0)
    (swept,) = commit(leader, [m.Entry("sweep", 1, 0, sweep)])
    assert isinstance(swept.reply, m.OrderPlaced)
    assert len(swept.reply.fills) == most
    before = leader.replica.state_hash()
    events = everything(leader)
    leader.close()
    for path in tmp_path.glob("events-*.log"):
        path.unlink()
    leader = lead(tmp_path)
    assert leader.replica.state_hash() == before
    assert everything(leader) == events
