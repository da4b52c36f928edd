"""A journal, its events and a snapshot from before RULES_2, kept for ever: newer code reads them as they were."""

import shutil
from pathlib import Path

import msgspec

from config.markets import CATALOGUE
from runtime.engine.file_log import FileLog
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from runtime.engine.replica import SNAPSHOT_FORMAT, Replica, Snapshot
from runtime.shared import messages as m

KEPT = Path(__file__).parent / "format1"
MARKETS = (1, 2, 3, 4)


def replayed(directory: Path) -> tuple[Replica, list[m.Happened]]:
    replica = Replica()
    happened: list[m.Happened] = []
    log = FileLog(directory, "commands", "main")
    for batch in log.read():
        if batch.count:
            entries = msgspec.msgpack.decode(batch.body, type=list[m.Entry])
            happened += [replica.apply(batch.time_us, entry)[1] for entry in entries]
    log.close()
    return replica, happened


def test_a_journal_of_format_1_replays_to_the_snapshot_and_the_events_of_its_time(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(KEPT, tmp_path / "log"))
    replica, happened = replayed(directory)
    assert replica.sequence == 721
    assert sum(market.last_trade_id for market in replica.engine.markets.values()) == 93
    snapshot = (KEPT / "snapshot").read_bytes()
    assert msgspec.msgpack.decode(snapshot, type=Snapshot).format == 1
    restored = Replica.restore(snapshot)
    assert restored.snapshot() == replica.snapshot()
    log = FileLog(directory, "events", "main", derivable=True)
    told = [each for batch in log.read() if batch.count for each in m.decode_feed(batch.body)]
    log.close()
    assert told == happened


def test_a_leader_takes_an_old_journal_over_and_sequences_the_new_rules(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(KEPT, tmp_path / "log"))
    leader = Leader(Follower.of_files(directory, "main"))
    leader.take_over()
    assert leader.replica.engine.rules == m.RULES_1
    leader.configure(CATALOGUE)
    assert leader.replica.engine.rules == m.RULES_NEWEST
    state = leader.replica.snapshot()
    leader.configure(CATALOGUE)  # nothing to do: nothing is sequenced
    assert leader.replica.snapshot() == state
    leader.close()
    again = Leader(Follower.of_files(directory, "main"))
    again.take_over()
    assert again.replica.snapshot() == state
    assert msgspec.msgpack.decode(state, type=Snapshot).format == SNAPSHOT_FORMAT
    again.close()


def test_what_rules_1_did_not_know_is_refused_under_them_and_taken_under_rules_2() -> None:
    replica = Replica.restore((KEPT / "snapshot").read_bytes())
    engine = replica.engine
    stop = m.PlaceOrder(1000, 1, m.BUY, m.STOP_LOSS, m.GTC, 0, 1_000, 0, "stop", stop_price=6_100_000)
    group = m.PlaceOrder(1000, 1, m.BUY, m.LIMIT, m.GTC, 5_000_000, 1_000, 0, "d", m.STP_DECREMENT)

    def do(command: m.Command) -> m.Reply:
        return engine.apply(engine.sequence + 1, engine.time_us, command)[0]

    for order in (stop, group):
        refused = do(order)
        assert isinstance(refused, m.Rejected)
        assert refused.reason == m.NOT_SUPPORTED
    new = m.Configure([asset.id for asset in CATALOGUE.assets], CATALOGUE.specs(), CATALOGUE.tier_specs(), m.RULES_2)
    assert do(new) == m.Done()
    for order in (stop, group):
        assert isinstance(do(order), m.OrderPlaced)
    old = m.Configure(new.assets, new.markets, new.tiers, m.RULES_1)
    assert do(old) == m.Rejected(m.BAD_CATALOGUE, "rules 1: 2 are in force, this engine knows up to 2")
