"""The three environments, synthesized once for the whole session, as plain dictionaries."""

import fcntl
import gc
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from config.model import Environment, load_environments

ROOT = Path(__file__).resolve().parent.parent

# The built-in template validator costs seconds and runs in `make synth`; rule packs run all the same.
os.environ["CDK_VALIDATION"] = "false"
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")

# How long an example takes says more of what else the machine does than of the example.
settings.register_profile("bursa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bursa")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Collect no garbage while a failure is described.

    Describing parses sources. A task found as garbage meanwhile logs its own exception, which parses too, and before
    Python 3.11.8 one parser inside another ends the whole run with a SystemError (python/cpython#106905).
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@dataclass(frozen=True)
class Exchange:
    """One synthesized environment."""

    config: Environment
    folder: Path
    stacks: dict[str, dict[str, Any]]
    """Template by the name of its stack within the Stage, such as Data."""
    order: list[str] = field(default_factory=list)

    @property
    def stage(self) -> str:
        return self.config.name.title()

    def of_type(self, *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield `Stack/LogicalId` and properties of every resource of one of `types`."""
        for stack, template in self.stacks.items():
            for logical_id, resource in template["Resources"].items():
                if resource["Type"] in types:
                    yield f"{stack}/{logical_id}", resource.get("Properties", {})

    def resources(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield `Stack/LogicalId` and the whole resource."""
        for stack, template in self.stacks.items():
            for logical_id, resource in template["Resources"].items():
                yield f"{stack}/{logical_id}", resource

    def text(self, value: Any) -> str:
        """Return `value` as text, with each reference to another resource as <Stack.Output> or <LogicalId>."""
        match value:
            case str():
                return value
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(self.text(part) for part in parts)
            case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": output}}:
                name = str(stack).removeprefix(f"{self.stage}-")
                return self.text_in(name, self.stacks[name]["Outputs"][output]["Value"])
            case {"Fn::Base64": inner} | {"Fn::Sub": inner}:
                return self.text(inner)
            case {"Fn::Select": [_, inner]} | {"Fn::Split": [_, inner]}:
                return self.text(inner)
            case {"Ref": name}:
                return f"<{name}>"
            case {"Fn::GetAtt": [name, attribute]}:
                return f"<{name}.{attribute}>"
        raise AssertionError(f"no text for {value}")

    def text_in(self, stack: str, value: Any) -> str:
        """Return the text of an output, whose references belong to `stack`."""
        return self.text(value).replace("<", f"<{stack}/")


def read(config: Environment, folder: Path) -> Exchange:
    """Read the nested assembly of one Stage."""
    manifest = json.loads((folder / "manifest.json").read_text())
    stacks, order = {}, []
    for artifact in manifest["artifacts"].values():
        if artifact["type"] == "aws:cloudformation:stack":
            name = artifact["properties"]["stackName"].removeprefix(f"{config.name.title()}-")
            stacks[name] = json.loads((folder / artifact["properties"]["templateFile"]).read_text())
            order.append(name)
    return Exchange(config, folder, stacks, order)


def new_app(folder: Path) -> Any:
    """Return a CDK app with the project's context, which builds no asset."""
    import aws_cdk as cdk  # noqa: PLC0415 - a second of jsii, which only tests of templates should pay for

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    return cdk.App(outdir=str(folder), context=context | {"aws:cdk:bundling-stacks": []})


def pack_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rule packs' report on an assembly by the name of the pack; nothing if it got none."""
    path = folder / "validation-report.json"
    whole = json.loads(path.read_text()) if path.exists() else {"pluginReports": []}
    return {plugin["pluginName"]: plugin for plugin in whole["pluginReports"]}


def open_findings(folder: Path) -> list[str]:
    """Return each finding of the rule packs that nobody has accepted."""
    return [
        f"{violation['ruleName']}: {place.get('constructPath')}"
        for plugin in pack_reports(folder).values()
        for violation in plugin.get("violations", [])
        for place in violation.get("violatingConstructs", [])
    ]


def synthesize(environments: Iterable[Environment], folder: Path, libraries: Path) -> str:
    """Write the Stage of each environment under every rule pack, with the libraries of functions if they are there.

    Returns what is wrong, an open finding included, or nothing; then nothing is left that could be taken for whole.
    """
    import aws_cdk as cdk  # noqa: PLC0415 - as above

    from exchange_constructs import runtime_code  # noqa: PLC0415 - as above
    from exchange_constructs.nag import rule_packs  # noqa: PLC0415 - as above
    from stacks.exchange_stage import ExchangeStage  # noqa: PLC0415 - as above

    runtime_code.LIBRARIES = libraries
    app = new_app(folder)
    gc.disable()  # as app.py
    try:
        for config in environments:
            ExchangeStage(app, config.name.title(), config=config)
        cdk.Validations.of(app).add_plugins(*rule_packs(app))
        app.synth()
    except RuntimeError as error:
        told = "\n".join([f"synth: {error}", *open_findings(folder)])
        shutil.rmtree(folder)
        return told
    finally:
        gc.enable()
    return ""


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of this run, one for all processes that run its tests."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def synth_app() -> Callable[[Path], Any]:
    """Return what makes an empty app, for tests that synthesize something of their own."""
    return new_app


@pytest.fixture(scope="session")
def exchanges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exchange]:
    """Every environment by name, made by the very Stage that is deployed, whether `make deps` has run here or not.

    Under every rule pack: their report lies in the folder above. Fails on an open finding. Tests that run in several
    processes share them.
    """
    folder = shared_folder(tmp_path_factory) / "assembly"
    environments = load_environments()
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The manifest is written last.
        if not (folder / "manifest.json").exists() and (told := synthesize(environments, folder, folder / "none")):
            pytest.fail(told, pytrace=False)  # a trace through jsii costs seconds for each test, and says less
    return {config.name: read(config, folder / f"assembly-{config.name.title()}") for config in environments}


@pytest.fixture(scope="session")
def dev(exchanges: dict[str, Exchange]) -> Exchange:
    return exchanges["dev"]


@pytest.fixture(scope="session")
def prod(exchanges: dict[str, Exchange]) -> Exchange:
    return exchanges["prod"]


@pytest.fixture(params=["dev", "staging", "prod"])
def exchange(request: pytest.FixtureRequest, exchanges: dict[str, Exchange]) -> Exchange:
    """Each environment in turn."""
    return exchanges[request.param]
