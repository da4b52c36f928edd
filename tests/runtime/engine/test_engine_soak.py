"""Long seeded runs: conservation and replay on random streams, torn journals, `kill -9` under load."""

import random
from pathlib import Path

import pytest

from runtime.engine.audit import check_conservation
from runtime.engine.replica import Replica
from runtime.shared import messages as m
from tests.runtime.engine.flows import entries, opening, random_commands, totals
from tests.runtime.engine.test_logs import batches, commit, everything, lead, segment
from tests.runtime.engine.test_server import run_kills
from tests.soak import seeds

pytestmark = pytest.mark.soak


def test_conservation_and_replay_on_random_streams() -> None:
    for seed in seeds(0.06):
        stream = list(entries(iter([*opening(6), *random_commands(seed, 20_000, 6)])))
        replica = Replica()
        half = b""
        for number, entry in enumerate(stream):
            replica.apply(number, entry)
            if number == len(stream) // 2:
                half = replica.snapshot()
            if number % 500 == 0:
                assert not any(totals(replica).values()), seed
        check_conservation(replica.engine)
        restored = Replica.restore(half)
        for number, entry in enumerate(stream[len(stream) // 2 + 1 :], len(stream) // 2 + 1):
            restored.apply(number, entry)
        assert restored.state_hash() == replica.state_hash(), seed


def test_torn_journals_keep_every_acknowledged_reply(tmp_path: Path) -> None:
    for run, seed in enumerate(seeds(0.06)):
        draw = random.Random(seed)
        work = batches(seed, 80)
        directory = tmp_path / str(run)
        leader = lead(directory)
        replies: list[m.Replied] = []
        for batch in work[:-1]:
            replies += commit(leader, batch)
        durable = leader.replica.state_hash()
        data = leader.seal(work[-1]).data
        leader.close()
        missing = len(data.rstrip(b"\0"))  # zeros that are missing are there all the same: files are preallocated
        for name, torn in (("commands", data[: draw.randrange(missing)]), ("events", b"")):
            path = segment(directory, name)
            kept = path.read_bytes()
            if name == "events":
                kept = kept[: draw.randrange(len(kept))]
            path.write_bytes(kept + torn + bytes(draw.randrange(200)))
        recovered = lead(directory)
        assert recovered.replica.state_hash() == durable, seed
        assert [h.sequence for h in everything(recovered)] == list(range(1, recovered.replica.sequence + 1)), seed
        again = [replied for batch in work[:-1] for replied in commit(recovered, batch)]
        remembered = {replied.n: replied for replied in again if replied.reply != m.Rejected(m.ALREADY_PRUNED)}
        assert all(remembered[replied.n] == replied for replied in replies if replied.n in remembered), seed
        assert recovered.replica.state_hash() != durable  # only the sequence moved on
        assert not any(totals(recovered.replica).values()), seed
        recovered.close()


def test_kill_9_under_load(tmp_path: Path) -> None:
    for run, seed in enumerate(seeds(0.08)):
        run_kills(tmp_path / str(run), seed, kills=4)
