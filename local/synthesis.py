"""Synthesizes one environment through the CDK command line, rule packs enforced, unless nothing has changed."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from local.paths import PROJECT

INPUTS: Final = (
    ".dockerignore",
    "app.py",
    "cdk.context.json",
    "cdk.json",
    "config",
    "constraints.txt",
    "constructs",
    "package-lock.json",
    "requirements.txt",
    "runtime",
    "stacks",
)
"""Everything a synthesis depends on; `runtime/` because assets carry its code."""
_NOT_INPUTS: Final = frozenset({"__pycache__"})
_OUTPUT: Final = PROJECT / ".local" / "cdk.out"


ACCOUNT: Final = "123456789012"
"""The one account that the embedded AWS has: whichever environment runs here runs in it, with its sizes as declared."""


class SynthesisError(RuntimeError):
    """The synthesis failed: an error in the code or an open finding. The message is what the tools said."""


def synthesize(environment: str) -> tuple[Path, bool]:
    """Return the assembly's folder, and whether it was synthesized now. Raises SynthesisError."""
    _OUTPUT.mkdir(parents=True, exist_ok=True)
    folder, stamp = _OUTPUT / environment, _OUTPUT / f"{environment}.inputs"
    with (_OUTPUT / "lock").open("w") as lock:  # two runs of one checkout share the assembly
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = digest()
        if stamp.exists() and stamp.read_text() == wanted:
            return folder, False
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # the command line stumbles over an old report
        _run(environment, folder)
        stamp.write_text(wanted)
    return folder, True


def digest(root: Path = PROJECT) -> str:
    """Return a digest of every input's name and content."""
    total = hashlib.sha256()
    for path in _files(root):
        content = path.read_bytes()
        total.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for name in INPUTS:
        top = root / name
        if top.is_file():
            yield top
        for path in sorted(top.rglob("*")):
            inside = path.relative_to(root).parts
            if path.is_file() and not _NOT_INPUTS & set(inside) and not any(p.endswith(".egg-info") for p in inside):
                yield path


def _run(environment: str, folder: Path) -> None:
    command = PROJECT / "node_modules" / ".bin" / "cdk"
    if not command.exists():
        raise SynthesisError(f"{command} is missing; `make up` installs it")
    variables = {
        **os.environ,
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "ENV": environment,
        "EMBEDDED_ACCOUNT": ACCOUNT,
        "JSII_RUNTIME_PACKAGE_CACHE": "enabled",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
    }
    result = subprocess.run(
        [str(command), "synth", "--quiet", "--no-notices", "--output", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=variables,
    )
    if result.returncode:
        raise SynthesisError(f"cdk synth of {environment} failed:\n{(result.stdout + result.stderr).strip()}")
