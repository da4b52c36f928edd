"""The compiled core and its sources: the same state, the same replies, the same events."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import engine
from tests.soak import seeds

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = 5_000
DIGEST = """
import sys
from hashlib import sha256
from runtime.engine import IS_COMPILED
from runtime.engine.replica import Replica
from runtime.shared.messages import encode
from tests.runtime.engine.flows import entries, opening, random_commands
replica, digest = Replica(), sha256()
for number, entry in enumerate(entries(iter([*opening(), *random_commands(int(sys.argv[1]), int(sys.argv[2]))]))):
    for message in replica.apply(number, entry):
        digest.update(encode(message))
print(IS_COMPILED, replica.state_hash(), digest.hexdigest())
"""


def outcome(seed: int, build: str, hash_seed: int) -> list[str]:
    """Run a random flow in a process of its own; return whether it was compiled, the state hash and that of replies."""
    environment = {**os.environ, "BURSA_ENGINE": build, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", DIGEST, str(seed), str(COMMANDS)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.split()


def equal(seed: int) -> None:
    """Hold the two builds, and two seeds of Python's hashes, against each other."""
    if not engine.compiled_folder().is_dir():
        pytest.skip("the core is not compiled here: no C compiler, or sources changed since `make setup`")
    interpreted, compiled = outcome(seed, engine.INTERPRETED, 1), outcome(seed, "", 2)
    assert (interpreted[0], compiled[0]) == ("False", "True")
    assert interpreted[1:] == compiled[1:], seed


def test_both_builds_give_the_same_state_and_replies() -> None:
    equal(20240607)


@pytest.mark.soak
def test_both_builds_agree_on_random_flows() -> None:
    for seed in seeds(0.03):
        equal(seed)


def test_all_that_the_core_is_made_of_is_compiled() -> None:
    imported = set(engine.CORE)
    for name in engine.CORE:
        for node in ast.walk(ast.parse((ROOT / "runtime" / "engine" / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("runtime.engine."):
                imported.add(str(node.module).rpartition(".")[2])
    assert imported == set(engine.CORE)


def test_a_changed_source_is_never_run_from_an_old_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "engine"
    folder.mkdir()
    shared = tmp_path / "shared"
    shared.mkdir()
    for source in (*(ROOT / "runtime" / "engine" / f"{name}.py" for name in engine.CORE),):
        (folder / source.name).write_bytes(source.read_bytes())
    (shared / "messages.py").write_bytes((ROOT / "runtime" / "shared" / "messages.py").read_bytes())
    monkeypatch.setattr(engine, "_FOLDER", folder)
    before = engine.compiled_folder().name
    (folder / "book.py").write_text((folder / "book.py").read_text() + "\n# changed\n")
    assert engine.compiled_folder().name != before
    after = engine.compiled_folder().name
    (shared / "messages.py").write_text((shared / "messages.py").read_text() + "\n# changed\n")
    assert engine.compiled_folder().name not in (before, after)
