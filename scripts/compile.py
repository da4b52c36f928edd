"""Compiles what runs for each order with mypyc: `python -m scripts.compile`.

Needs a C compiler and Python's headers. Without them engine and gateway run interpreted: slower, otherwise the same.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from msgspec import Struct
from pydantic import BaseModel

from runtime.shared.builds import BUILDS, Build, here

ROOT: Final = Path(__file__).resolve().parent.parent
BUILDS_KEPT: Final = 3
_MYPY_OPTIONS: Final = ("--python-version=3.11", "--disable-error-code=misc", "--ignore-missing-imports")


def make(build: Build) -> Path:
    """Compile the modules of `build` unless that is done; return the folder.

    Raises subprocess.CalledProcessError when the sources do not compile.
    """
    folder = build.folder()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as scratch:
        command = (sys.executable, "-m", "scripts.compile", build.package, scratch)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - this very module
        try:
            (Path(scratch) / "lib" / "runtime" / build.package).rename(folder)
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


def _compile(build: Build, scratch: Path) -> None:
    """Compile into `scratch`/lib, in a process of its own: the tools read the command line and change the folder."""
    from mypyc.build import mypycify  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415

    refuse_models(import_module(f"runtime.{build.package}.{name}") for name in build.modules)
    sys.argv[1:] = []
    extensions = mypycify(
        [*_MYPY_OPTIONS, *(f"runtime/{build.package}/{name}.py" for name in build.modules)],
        group_name=f"runtime.{build.package}.compiled",  # of the library that they share
        opt_level="3",
        target_dir=str(scratch / "c"),
        strip_asserts=False,
    )
    distribution = Distribution({"name": f"bursa-{build.package}", "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    assert command
    command.build_lib = str(scratch / "lib")
    command.build_temp = str(scratch / "tmp")
    distribution.run_command("build_ext")


def refuse_models(modules: Iterable[ModuleType]) -> None:
    """Exit with the reason if one of `modules` declares a model: mypyc drops `frozen`, `rename` and the like unsaid."""
    for module in modules:
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, (Struct, BaseModel)) and each.__module__ == module.__name__:
                sys.exit(
                    f"{module.__name__} is compiled, and may declare no Struct or BaseModel, was {each.__name__}: "
                    "move it to a module that is not"
                )


def main() -> int:
    """Build what is here, and say what came of it."""
    if problem := _problem():
        sys.stdout.write(f"engine and gateway will run interpreted: {problem}\n")
        return 0
    for build in here():
        try:
            make(build)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{error.stdout}{error.stderr}\nthe {build.package} does not compile\n")
            return 1
        sys.stdout.write(f"the {build.package} is compiled\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:]:
        _compile(BUILDS[sys.argv[1]], Path(sys.argv[2]))
    else:
        sys.exit(main())
