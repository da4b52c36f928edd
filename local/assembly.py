"""Reads a synthesized cloud assembly: the stacks of one environment, in order of deployment, and their assets."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from local.resolve import Json, references

_ENVIRONMENT_PREFIX: Final = "aws://"


class AssemblyError(ValueError):
    """The assembly is not there, or is not what this program can deploy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file or folder that a template refers to by bucket and key."""

    source: Path
    bucket: str
    key: str
    is_zip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One template and where it would be deployed."""

    name: str
    account: str
    region: str
    template: Mapping[str, Json] = field(repr=False)
    assets: tuple[Asset, ...] = ()

    @property
    def resources(self) -> Mapping[str, Mapping[str, Json]]:
        """Resources by logical id."""
        return self.template.get("Resources") or {}

    def path(self, logical_id: str) -> str:
        """Return the name of a resource that is the same in every synthesis."""
        return f"{self.name}/{logical_id}"

    def in_creation_order(self) -> Iterator[tuple[str, Mapping[str, Json]]]:
        """Yield every resource after those it refers to; template order decides where references do not."""
        order: TopologicalSorter[str] = TopologicalSorter()
        for logical_id, resource in self.resources.items():
            depends = resource.get("DependsOn") or []
            names = [depends] if isinstance(depends, str) else depends
            used = {*names, *references(resource.get("Properties") or {})}
            order.add(logical_id, *sorted(name for name in used if name in self.resources))
        try:
            for logical_id in order.static_order():
                yield logical_id, self.resources[logical_id]
        except CycleError as error:
            raise AssemblyError(f"{self.name}: resources refer to each other in a circle: {error.args[1]}") from None


@dataclass(frozen=True, slots=True)
class Assembly:
    """The stacks of one environment, each after those it depends on."""

    stage: str
    stacks: tuple[Stack, ...]

    @property
    def account(self) -> str:
        """The one account of this environment."""
        return _only({stack.account for stack in self.stacks}, f"accounts of {self.stage}")

    @property
    def region(self) -> str:
        """The region most stacks are in; a few global things may live in others."""
        return Counter(stack.region for stack in self.stacks).most_common(1)[0][0]


def read_assembly(folder: Path, environment: str) -> Assembly:
    """Return the stage of `environment` (`dev`, …): the nested assembly whose name is, or ends with, that word.

    Raises AssemblyError naming the folder and what it holds instead.
    """
    manifest = _manifest(folder)
    stages = {
        artifact["properties"].get("displayName", name): folder / artifact["properties"]["directoryName"]
        for name, artifact in manifest["artifacts"].items()
        if artifact["type"] == "cdk:cloud-assembly"
    }
    for name, nested in stages.items():
        if name.lower() == environment or name.lower().endswith(f"-{environment}"):
            return Assembly(name, tuple(_stacks(nested)))
    known = ", ".join(sorted(stages)) or "no stage"
    raise AssemblyError(f"{folder} holds {known}; wanted the stage of environment {environment!r}")


def _stacks(folder: Path) -> Iterator[Stack]:
    artifacts = _manifest(folder)["artifacts"]
    order: TopologicalSorter[str] = TopologicalSorter()
    for name, artifact in artifacts.items():
        if artifact["type"] == "aws:cloudformation:stack":
            dependencies = artifact.get("dependencies") or []
            order.add(name, *(d for d in dependencies if artifacts[d]["type"] == "aws:cloudformation:stack"))
    for name in order.static_order():
        artifact = artifacts[name]
        account, region = artifact["environment"].removeprefix(_ENVIRONMENT_PREFIX).split("/")
        yield Stack(
            name=artifact["properties"].get("stackName", name),
            account=account,
            region=region,
            template=_json(folder / artifact["properties"]["templateFile"]),
            assets=tuple(_assets(folder, artifacts, artifact.get("dependencies") or [])),
        )


def _assets(folder: Path, artifacts: Mapping[str, Any], dependencies: list[str]) -> Iterator[Asset]:
    for name in dependencies:
        if artifacts[name]["type"] != "cdk:asset-manifest":
            continue
        for entry in _json(folder / artifacts[name]["properties"]["file"])["files"].values():
            source = entry["source"]
            if source["path"].endswith(".template.json"):
                continue  # the template itself, which nothing refers to
            for destination in entry["destinations"].values():
                yield Asset(
                    source=folder / source["path"],
                    bucket=destination["bucketName"],
                    key=destination["objectKey"],
                    is_zip=source["packaging"] == "zip",
                )


def _manifest(folder: Path) -> Json:
    path = folder / "manifest.json"
    if not path.exists():
        raise AssemblyError(f"{folder} holds no manifest.json; `make synth` writes one")
    return _json(path)


def _json(path: Path) -> Json:
    return json.loads(path.read_text())


def _only(values: set[str], what: str) -> str:
    if len(values) != 1:
        raise AssemblyError(f"{what}: {sorted(values)}; the embedded AWS holds exactly one")
    return values.pop()
