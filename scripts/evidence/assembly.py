"""The synthesized assembly as plain data: every resource with its stack, its region and its place in the code."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENTS = ("Dev", "Staging", "Prod")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one template."""

    stage: str
    stack: str
    """Name within its stage, such as Data."""
    region: str
    logical_id: str
    type: str
    path: str
    """Of its construct, without stage and stack and without CDK's last word for the one resource of a construct."""
    properties: dict[str, Any]
    is_on: bool = True
    """Whether it is deployed as the templates stand: not what a switch that is off governs."""

    @property
    def name(self) -> str:
        """Stack and path, as a reader of the code looks for it."""
        return f"{self.stack}/{self.path}"


@dataclass(frozen=True, slots=True)
class Assembly:
    """All stages."""

    resources: tuple[Resource, ...]
    order: tuple[str, ...]
    """Names of stacks in order of deployment."""
    outputs: dict[tuple[str, str, str], Any]
    """Value of an output by stage, stack and name."""
    regions: dict[tuple[str, str], str]

    def of(self, stage: str, *types: str) -> Iterator[Resource]:
        """Yield the resources of one stage, of all types or those given."""
        for resource in self.resources:
            if resource.stage == stage and (not types or resource.type in types):
                yield resource

    def text(self, resource: Resource, value: Any) -> str:  # noqa: ANN401 - a template is any JSON
        """Return `value` as text; a reference is the name of what it refers to, in angle brackets."""
        match value:
            case {"Ref": name} | {"Fn::GetAtt": [name, *_]}:
                return f"<{self._named(resource.stage, resource.stack, str(name))}>"
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(self.text(resource, part) for part in parts)
            case {"Fn::Sub": str(inner)} | {"Fn::Base64": inner}:
                return self.text(resource, inner)
            case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": output}}:
                name = str(stack).removeprefix(f"{resource.stage}-")
                inner = self.outputs.get((resource.stage, name, output))
                there = Resource(resource.stage, name, "", "", "", "", {})
                return self.text(there, inner) if inner is not None else f"<{name}>"
            case str() | int() | float():
                return str(value)
        return json.dumps(value, sort_keys=True)

    def _named(self, stage: str, stack: str, logical_id: str) -> str:
        for resource in self.resources:
            if (resource.stage, resource.stack, resource.logical_id) == (stage, stack, logical_id):
                return resource.name
        return logical_id


def read(folder: Path) -> Assembly:
    """Read what `make synth` wrote to `folder`. Raises ValueError when an environment is missing."""
    resources: list[Resource] = []
    order: list[str] = []
    outputs: dict[tuple[str, str, str], Any] = {}
    regions: dict[tuple[str, str], str] = {}
    for stage in ENVIRONMENTS:
        nested = folder / f"assembly-{stage}"
        if not nested.is_dir():
            raise ValueError(f"{nested} is missing: run `make synth` for all environments first")
        manifest = json.loads((nested / "manifest.json").read_text())
        for artifact in manifest["artifacts"].values():
            if artifact["type"] != "aws:cloudformation:stack":
                continue
            stack = artifact["properties"]["stackName"].removeprefix(f"{stage}-")
            region = artifact["environment"].rsplit("/", maxsplit=1)[-1]
            regions[stage, stack] = region
            if stack not in order:
                order.append(stack)
            template = json.loads((nested / artifact["properties"]["templateFile"]).read_text())
            paths = _paths(nested, artifact)
            off = {
                name.removesuffix("State")
                for name, mapping in template.get("Mappings", {}).items()
                if mapping.get("Switch") == {"On": "no"}
            }
            for logical_id, resource in template.get("Resources", {}).items():
                if resource["Type"] != "AWS::CDK::Metadata":
                    path = _short(paths.get(logical_id, logical_id), f"{stage}/{stack}/")
                    resources.append(
                        Resource(
                            stage,
                            stack,
                            region,
                            logical_id,
                            resource["Type"],
                            path,
                            resource.get("Properties", {}),
                            is_on=resource.get("Condition", "") not in off,
                        )
                    )
            for name, output in template.get("Outputs", {}).items():
                outputs[stage, stack, name] = output["Value"]
    return Assembly(tuple(resources), tuple(order), outputs, regions)


def _paths(folder: Path, artifact: dict[str, Any]) -> dict[str, str]:
    if "additionalMetadataFile" in artifact:
        entries = json.loads((folder / artifact["additionalMetadataFile"]).read_text())
    else:
        entries = artifact.get("metadata", {})
    return {
        entry["data"]: path.strip("/")
        for path, each in entries.items()
        for entry in each
        if entry["type"] == "aws:cdk:logicalId"
    }


def _short(path: str, prefix: str) -> str:
    parts = path.removeprefix(prefix).split("/")
    return "/".join(part for part in parts if part not in {"Resource", "Default"}) or parts[-1]


def references(value: Any) -> Iterator[tuple[str | None, str]]:  # noqa: ANN401 - a template is any JSON
    """Yield what a value refers to: (None, logical id) in its stack, (stack, output) in another one."""
    if isinstance(value, dict):
        match value:
            case {"Ref": str(name)}:
                yield None, name
            case {"Fn::GetAtt": [str(name), *_]}:
                yield None, name
            case {"Fn::GetStackOutput": {"StackName": str(stack), "OutputName": str(output)}}:
                yield stack, output
            case _:
                for inner in value.values():
                    yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
