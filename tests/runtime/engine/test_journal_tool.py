"""What operators are told about a journal, and with which exit code."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runtime.engine import journal
from runtime.engine.follower import Follower
from runtime.engine.leader import Leader
from tests.runtime.engine.flows import entries, opening, random_commands


@pytest.fixture
def leader(tmp_path: Path) -> Leader:
    leader = Leader(Follower.of_files(tmp_path, "main", clock=lambda: 1_750_000_000_000_000), "alpha")
    leader.take_over()
    stream = list(entries(iter([*opening(2), *random_commands(5, 60, 2)])))
    for at in range(0, len(stream), 7):
        sealed = leader.seal(stream[at : at + 7])
        leader.make_durable(sealed)
        leader.apply(sealed)
    return leader


def run(*arguments: str) -> tuple[int, str, str]:
    out, told = io.StringIO(), io.StringIO()
    return journal.main(list(arguments), out, told), out.getvalue(), told.getvalue()


def test_a_live_journal_is_inspected_verified_and_replayed(tmp_path: Path, leader: Leader) -> None:
    where = ("--directory", str(tmp_path))
    code, out, _ = run("inspect", *where, "--json")
    document = json.loads(out)
    assert (code, document["last_sequence"], document["torn_bytes"]) == (0, leader.replica.sequence, 0)
    (epoch,) = document["epochs"]
    assert (epoch["epoch"], epoch["member"], epoch["commands"]) == (1, "alpha", leader.replica.sequence)
    assert epoch["opened"] == "2025-06-15T15:06:40.000000+00:00"
    code, out, _ = run("inspect", *where)
    assert (code, "alpha" in out, "no torn tail" in out) == (0, True, True)
    code, out, _ = run("verify", *where, "--replay")
    assert code == 0
    assert f"state {leader.replica.state_hash()}" in out
    assert "every asset adds up to zero" in out
    assert run("verify", *where, "--log", "events")[0] == 0


def test_commands_are_exported_as_json_lines(tmp_path: Path, leader: Leader) -> None:
    target = tmp_path / "out.jsonl"
    code, out, _ = run("export", "--directory", str(tmp_path), "--first", "3", "--to", "9", "--output", str(target))
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert (code, out) == (0, "")
    assert [line["sequence"] for line in lines] == list(range(3, 10))
    assert lines[0]["command"] == "OpenAccount"
    assert lines[0]["fields"]["name"] == "user1"
    assert len(run("export", "--directory", str(tmp_path))[1].splitlines()) == leader.replica.sequence


def test_a_torn_tail_verifies_and_other_damage_does_not(tmp_path: Path, leader: Leader) -> None:
    where = ("--directory", str(tmp_path))
    leader.close()
    (path,) = tmp_path.glob("commands-*.log")
    intact = path.read_bytes()
    path.write_bytes(intact[:-5])
    code, out, _ = run("verify", *where)
    assert (code, "a torn tail of at most" in out) == (0, True)
    path.write_bytes(intact[:700] + b"?" + intact[701:])
    code, _, told = run("verify", *where)
    assert code == 1
    assert path.name in told
    assert "an intact batch follows at byte" in told
    assert "Restore the file" in told
    code, _, told = run("verify", *where, "--group", "other")
    assert (code, "in the log of 'other'" in told) == (1, True)


def test_a_wrong_call_says_what_is_wrong(tmp_path: Path) -> None:
    code, _, told = run("verify", "--directory", str(tmp_path / "nowhere"))
    assert (code, "no files commands-*.log are there" in told) == (2, True)
    assert not (tmp_path / "nowhere").exists()
    assert run("export", "--directory", str(tmp_path), "--log", "events")[0] == 2
    with pytest.raises(SystemExit) as caught:
        journal.main(["verify"])
    assert caught.value.code == 2
