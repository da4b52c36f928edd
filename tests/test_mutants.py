"""A test that cannot fail proves nothing: each planted bug must be caught.

A soak plants SAMPLE of them, others each time (BURSA_SEED repeats a choice); BURSA_MUTANTS=all plants every one.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[1]
SAMPLE = 24
SEED = int(os.environ.get("BURSA_SEED") or random.SystemRandom().randrange(2**32))
PLANTED = MUTANTS if os.environ.get("BURSA_MUTANTS") == "all" else random.Random(SEED).sample(MUTANTS, SAMPLE)
COPIED = ("bench", "config", "local", "runtime", "tests", "pyproject.toml")


@pytest.mark.soak
@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_the_planted_bug_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    path = tmp_path / mutant.path
    text = path.read_text()
    assert text.count(mutant.old) == 1, "the code has moved on: plant this bug anew"
    path.write_text(text.replace(mutant.old, mutant.new))
    run = subprocess.run(  # our own tests, in a copy
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutant.test],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 1, f"not caught:\n{run.stdout[-2000:]}"


def test_every_planted_bug_still_has_its_place() -> None:
    for mutant in MUTANTS:
        assert (ROOT / mutant.path).read_text().count(mutant.old) == 1, mutant.name
