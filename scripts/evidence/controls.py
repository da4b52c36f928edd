"""Which construct and which test stand behind each control; a row whose construct or test is gone is refused."""

import ast
import csv
import fnmatch
from pathlib import Path
from typing import Final

from scripts.evidence.assembly import Assembly

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "docs/controls.csv"
COLUMNS: Final = ("framework", "clause", "asks", "construct", "test")


def rows(assembly: Assembly, stage: str, source: Path = SOURCE) -> list[dict[str, str]]:
    """Return the control map. Raises ValueError naming each row whose construct or test does not exist."""
    with source.open(newline="") as file:
        found = list(csv.DictReader(file))
    places = {resource.name for resource in assembly.of(stage)}
    wrong = []
    for row in found:
        where = f"{row['framework']} {row['clause']}"
        if missing := [name for name in COLUMNS if not row.get(name)]:
            wrong.append(f"{where}: {', '.join(missing)} is empty")
            continue
        wrong += [
            f"{where}: no construct or file is called {construct}"
            for construct in row["construct"].split(" + ")
            if not any(fnmatch.fnmatchcase(place, construct) for place in places) and not (ROOT / construct).is_file()
        ]
        wrong += [f"{where}: there is no test {test}" for test in row["test"].split(" + ") if not _exists(test)]
    if wrong:
        raise ValueError(f"{source.name}:\n" + "\n".join(wrong))
    return found


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    names = {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return not name or name in names
