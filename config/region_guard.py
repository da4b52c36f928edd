"""What a synthesized assembly may not hold: a region, a resource type or an instance family that is not to be had.

The facts are in `regions.json`, with their date. The guard reads the assembly as it would be deployed, so nothing that
any construct adds escapes it, and each complaint names the construct.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

FACTS: Final = Path(__file__).with_name("regions.json")
_INSTANCE: Final = re.compile(
    r"(?:db|cache|kafka|express|ml|dms)?\.?([a-z]+\d+[a-z]*(?:-[a-z0-9]+)?)\.(?:nano|micro|small|medium|\d*x?large|metal\S*)(?:\.search)?"
)
_ENCLAVE_CONDITION: Final = "kms:RecipientAttestation:"


def problems(assembly: Path) -> list[str]:
    """Return a line for each thing in `assembly` that must not be deployed; empty if all may be."""
    facts = json.loads(FACTS.read_text())
    return [problem for stack in _stacks(assembly) for problem in _of_stack(stack, facts)]


def _of_stack(stack: dict[str, Any], facts: dict[str, Any]) -> Iterator[str]:
    region, regions = stack["region"], facts["regions"]
    if region not in regions:
        yield f"{stack['path']}: region {region} is not allowed; allowed are {', '.join(sorted(regions))}"
        return
    for logical_id, resource in stack["resources"].items():
        where = stack["paths"].get(logical_id, f"{stack['path']}/{logical_id}")
        kind: str = resource["Type"]
        for prefix, instead in facts["closed"].items():
            if kind.startswith(prefix):
                yield f"{where}: {kind}: {instead}"
        if kind.startswith(tuple(regions[region]["absent_types"])):
            yield f"{where}: {kind} does not exist in {region} (as of {facts['as_of']})"
        if region != facts["home"] and kind.startswith(tuple(facts["home_only"])):
            yield f"{where}: {kind} may hold customer data, which stays in {facts['home']}; the stack is in {region}"
        yield from _of_values(where, resource.get("Properties", {}), region, regions[region]["instance_families"])


def _of_values(where: str, properties: dict[str, Any], region: str, families: list[str]) -> Iterator[str]:
    for key, value in _leaves(properties):
        if "instancetype" in key.lower() or key.lower() in {"dbinstanceclass", "cachenodetype"}:
            family = _INSTANCE.fullmatch(value)
            if family and family[1] not in families:
                allowed = ", ".join(families) if families else "none: no host belongs there"
                yield f"{where}: instance family of {value} is not offered in {region}; allowed are {allowed}"
        if key.startswith(_ENCLAVE_CONDITION) and not value.strip("0"):
            yield f"{where}: {key} is all zero, which every enclave in debug mode has; give the measurement of a build"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a template is any JSON
    if isinstance(value, dict):
        if value.get("Effect") == "Deny":
            return  # what is refused may well be named
        for name, inner in value.items():
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    elif isinstance(value, str):
        yield key, value


def _stacks(assembly: Path) -> Iterator[dict[str, Any]]:
    manifest = json.loads((assembly / "manifest.json").read_text())
    for artifact in manifest["artifacts"].values():
        if artifact["type"] == "cdk:cloud-assembly":
            yield from _stacks(assembly / artifact["properties"]["directoryName"])
        elif artifact["type"] == "aws:cloudformation:stack":
            metadata = assembly / artifact["additionalMetadataFile"] if "additionalMetadataFile" in artifact else None
            entries = json.loads(metadata.read_text()) if metadata else artifact.get("metadata", {})
            yield {
                "path": artifact["displayName"].split(" ", maxsplit=1)[0],
                "region": artifact["environment"].rsplit("/", maxsplit=1)[-1],
                "resources": json.loads((assembly / artifact["properties"]["templateFile"]).read_text()).get(
                    "Resources", {}
                ),
                "paths": {
                    entry["data"]: path.strip("/")
                    for path, each in entries.items()
                    for entry in each
                    if entry["type"] == "aws:cdk:logicalId"
                },
            }
