"""Which modules run compiled: all of a group, and never a build of other sources."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.shared import builds
from runtime.shared.builds import BUILDS, CHOICE, INTERPRETED, RUNTIME, Build

EVERY = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)


def imported(path: Path) -> Iterator[str]:
    """Yield what a module imports of ours, as `package/module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("runtime."):
            _, package, *module = str(node.module).split(".")
            yield from (f"{package}/{name}" for name in module or (alias.name for alias in node.names))


@EVERY
def test_a_build_names_all_that_its_modules_are_made_of(build: Build) -> None:
    own = {f"{build.package}/{module}" for module in build.modules}
    used = {name for each in own for name in imported(RUNTIME / f"{each}.py")}
    assert used - own == {*build.typed_with}


@EVERY
def test_a_changed_source_is_never_run_from_an_old_build(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "runtime"
    for package in ("engine", "gateway", "shared"):
        shutil.copytree(RUNTIME / package, runtime / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(builds, "RUNTIME", runtime)
    seen = {build.folder()}
    for name in (*(f"{build.package}/{module}" for module in build.modules), *build.typed_with):
        source = runtime / f"{name}.py"
        source.write_text(source.read_text() + "\n# changed\n")
        assert build.folder() not in seen, name
        seen.add(build.folder())


def test_a_build_is_taken_where_it_is_there_and_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime/engine").mkdir(parents=True)
    (tmp_path / "runtime/engine/book.py").write_text("")
    monkeypatch.setattr(builds, "RUNTIME", tmp_path / "runtime")
    monkeypatch.delenv(CHOICE, raising=False)
    build, path = Build("engine", ("book",), ()), ["sources"]
    assert not build.take(path)
    build.folder().mkdir(parents=True)
    monkeypatch.setenv(CHOICE, INTERPRETED)
    assert not build.take(path)
    assert path == ["sources"]
    monkeypatch.delenv(CHOICE)
    assert build.take(path)
    assert path == [str(build.folder()), "sources"]
    assert build.folder().is_relative_to(tmp_path / ".build")


def test_only_builds_of_packages_that_are_here_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert builds.here() == [*BUILDS.values()]
    monkeypatch.setattr(builds, "RUNTIME", tmp_path)
    (tmp_path / "gateway").mkdir()
    assert builds.here() == [BUILDS["gateway"]]


def test_a_package_without_its_build_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("engine", "gateway", "shared"):
        shutil.copytree(RUNTIME / package, tmp_path / "runtime" / package)
    monkeypatch.setattr(builds, "RUNTIME", tmp_path / "runtime")
    BUILDS["engine"].folder().mkdir(parents=True)
    assert builds.missing() == ["gateway"]


@EVERY
@pytest.mark.parametrize("choice", ["", INTERPRETED])
def test_a_package_says_what_its_modules_come_from(build: Build, choice: str) -> None:
    program = (
        f"import runtime.{build.package} as p; from runtime.{build.package} import {build.modules[-1]} as m; "
        "print(p.IS_COMPILED == m.__file__.endswith('.so'), p.IS_COMPILED)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=RUNTIME.parent,
        env={**os.environ, CHOICE: choice},
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["True", str(build.folder().is_dir() and not choice)]
