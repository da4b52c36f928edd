"""How the repository hangs together: layers point one way, no name is shadowed, nothing belongs to one machine."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {".git", ".venv", ".local", ".build", "node_modules", "cdk.out", "__pycache__", "dist"}

FORBIDDEN = {  # layer → what it must not import
    "runtime": {"aws_cdk", "cdk_nag", "cdk_monitoring_constructs", "constructs", "exchange_constructs"}
    | {"stacks", "local", "config", "tests"},
    "config": {"aws_cdk", "constructs", "exchange_constructs", "stacks", "local", "tests"},
    "constructs": {"stacks", "local", "tests"},
    "stacks": {"local", "tests"},
    "local": {"aws_cdk", "constructs", "exchange_constructs", "stacks", "tests"},
}


def python_files(folder: str) -> Iterator[Path]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        if not SKIPPED & set(path.parts):
            yield path


def imports(path: Path) -> set[str]:
    """Return the top-level names that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layers_point_one_way(layer: str) -> None:
    files = list(python_files(layer))
    assert files
    wrong = {str(path.relative_to(ROOT)): names for path in files if (names := imports(path) & FORBIDDEN[layer])}
    assert wrong == {}


@pytest.mark.parametrize(
    ("folder", "pure"),
    [("runtime/engine", {"accounts.py", "book.py", "core.py"}), ("runtime/shared", {"money.py", "messages.py"})],
)
def test_pure_modules_know_no_clock_no_chance_and_no_network(folder: str, pure: set[str]) -> None:
    effects = {"asyncio", "boto3", "datetime", "os", "random", "redis", "secrets", "socket", "time", "uuid"}
    for path in python_files(folder):
        if path.name in pure:
            assert imports(path) & effects == set(), path


def test_constructs_stays_a_source_root() -> None:
    assert not (ROOT / "constructs" / "__init__.py").exists()
    assert (ROOT / "constructs" / "exchange_constructs" / "py.typed").exists()
    assert not (ROOT / "tests" / "constructs").exists()


def committed() -> list[Path]:
    """Return every file that is or would be committed, as git sees it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


def test_no_file_is_a_link() -> None:
    """A link names a place of one machine, or says a thing twice."""
    assert [path for path in committed() if path.is_symlink()] == []


def text_files() -> Iterator[tuple[Path, str]]:
    """Yield each of these that is text."""
    for path in committed():
        if path.is_file() and not SKIPPED & set(path.relative_to(ROOT).parts):
            try:
                yield path, path.read_text()
            except UnicodeDecodeError:
                continue


MACHINE = re.compile(r"/(?:home|Users|root|work|opt)/(?!\.docker)[\w.-]+|/tmp/\w|\b[A-Z]:\\\\\w")
IN_WHAT_WE_DEPLOY = {
    "constructs/exchange_constructs/instance_service.py",
    "constructs/exchange_constructs/ledger_database.py",
    "tests/test_tidy.py",
}


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in text_files()
        if str(path.relative_to(ROOT)) not in IN_WHAT_WE_DEPLOY
        for match in MACHINE.finditer(text)
    ]
    assert found == []


def test_lock_files_name_no_registry() -> None:
    lock = ROOT / "package-lock.json"
    assert not re.findall(r'"resolved": "https?://[^"]*"', lock.read_text())
    assert [path for path in ROOT.glob("*/package-lock.json") if path.parent.name not in SKIPPED] == []
