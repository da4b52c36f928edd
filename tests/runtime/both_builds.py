"""Runs a program interpreted and compiled, under two seeds of Python's hashes, and holds what it prints together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.shared.builds import BUILDS, CHOICE, INTERPRETED

ROOT = Path(__file__).resolve().parents[2]


def printed(program: str, build: str, hash_seed: int, *arguments: int) -> list[str]:
    """Run `program` in a process of its own; return the words that it prints."""
    environment = {**os.environ, CHOICE: build, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.split()


def assert_equal(package: str, program: str, *arguments: int) -> None:
    """Hold both builds against each other. The first that `program` prints is whether it ran compiled."""
    if not BUILDS[package].folder().is_dir():
        pytest.skip(f"the {package} is not compiled here: no C compiler, or sources changed since `make setup`")
    interpreted, compiled = printed(program, INTERPRETED, 1, *arguments), printed(program, "", 2, *arguments)
    assert (interpreted[0], compiled[0]) == ("False", "True")
    assert interpreted[1:] == compiled[1:], arguments
