"""Compiles the pure core of the engine with mypyc: `python -m scripts.compile_engine`.

Needs a C compiler and Python's headers. Without them the engine runs interpreted: slower, and otherwise the same.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from runtime.engine import CORE, compiled_folder

ROOT: Final = Path(__file__).resolve().parent.parent
GROUP: Final = "runtime.engine.core"
"""Name of the library that the compiled modules share."""
BUILDS_KEPT: Final = 3
_MYPY_OPTIONS: Final = ("--python-version=3.11", "--disable-error-code=misc", "--ignore-missing-imports")


def build() -> Path | None:
    """Compile the core unless that is done; return the folder, or None when this machine cannot compile.

    Raises subprocess.CalledProcessError when it could but the sources do not compile.
    """
    folder = compiled_folder()
    if folder.is_dir():
        return folder
    if problem := _problem():
        sys.stdout.write(f"the engine will run interpreted: {problem}\n")
        return None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as scratch:
        command = (sys.executable, "-m", "scripts.compile_engine", "--into", scratch)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - this very module
        try:
            (Path(scratch) / "lib" / "runtime" / "engine").rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another build of the same sources was first
                raise
    _forget_old(folder)
    return folder


def _problem() -> str:
    """Return why nothing can be compiled here, or nothing."""
    compiler = os.environ.get("CC") or (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        return f"no C compiler ({compiler}) is on PATH"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's headers are not installed (on Debian: python3-dev)"
    return ""


def _forget_old(newest: Path) -> None:
    """Remove all but the newest builds: each change of the sources leaves one."""
    builds = sorted((each for each in newest.parent.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for folder in builds[:-BUILDS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def _compile(scratch: Path) -> None:
    """Compile into `scratch`/lib, in a process of its own: the tools read the command line and change the folder."""
    from mypyc.build import mypycify  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415

    files = [f"runtime/engine/{name}.py" for name in CORE]
    extensions = mypycify(
        [*_MYPY_OPTIONS, *files], group_name=GROUP, opt_level="3", target_dir=str(scratch / "c"), strip_asserts=False
    )
    distribution = Distribution({"name": "bursa-engine-core", "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    assert command
    command.build_lib = str(scratch / "lib")
    command.build_temp = str(scratch / "tmp")
    distribution.run_command("build_ext")


def main() -> int:
    """Build, and say what came of it."""
    if sys.argv[1:2] == ["--into"]:
        _compile(Path(sys.argv[2]))
        return 0
    try:
        folder = build()
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stdout}{error.stderr}\nthe core does not compile\n")
        return 1
    if folder:
        sys.stdout.write("the engine's core is compiled\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
