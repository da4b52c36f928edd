"""Reading an assembly: the stage, the order, the assets."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.assembly import AssemblyError, Stack, read_assembly


def stack_artifact(name: str, *dependencies: str, region: str = "ap-southeast-3") -> dict[str, Any]:
    return {
        "type": "aws:cloudformation:stack",
        "environment": f"aws://123456789012/{region}",
        "properties": {"templateFile": f"{name}.template.json", "stackName": f"Dev-{name}"},
        "dependencies": list(dependencies),
    }


def write(folder: Path, artifacts: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"version": "55.0.0", "artifacts": artifacts}))
    for name, artifact in artifacts.items():
        if artifact["type"] == "aws:cloudformation:stack":
            (folder / f"{name}.template.json").write_text(json.dumps({"Resources": {}}))


@pytest.fixture
def assembly(tmp_path: Path) -> Path:
    stage = {"type": "cdk:cloud-assembly", "properties": {"directoryName": "assembly-Dev", "displayName": "Dev"}}
    write(tmp_path, {"assembly-Dev": stage, "Tree": {"type": "cdk:tree", "properties": {"file": "tree.json"}}})
    assets = {"type": "cdk:asset-manifest", "properties": {"file": "B.assets.json"}}
    write(
        tmp_path / "assembly-Dev",
        {
            "C": stack_artifact("C", "B", "A"),
            "B": stack_artifact("B", "A", "B.assets"),
            "B.assets": assets,
            "A": stack_artifact("A"),
        },
    )
    entry = {
        "source": {"path": "asset.1", "packaging": "zip"},
        "destinations": {"d": {"bucketName": "bucket", "objectKey": "1.zip"}},
    }
    template = {"source": {"path": "B.template.json", "packaging": "file"}, "destinations": {"d": {}}}
    (tmp_path / "assembly-Dev" / "B.assets.json").write_text(json.dumps({"files": {"1": entry, "2": template}}))
    return tmp_path


def test_stacks_come_after_those_they_depend_on(assembly: Path) -> None:
    read = read_assembly(assembly, "dev")
    assert [stack.name for stack in read.stacks] == ["Dev-A", "Dev-B", "Dev-C"]
    assert (read.account, read.region) == ("123456789012", "ap-southeast-3")


def test_assets_are_found_beside_the_manifest_and_templates_are_none(assembly: Path) -> None:
    (asset,) = read_assembly(assembly, "dev").stacks[1].assets
    assert asset.source == assembly / "assembly-Dev" / "asset.1"
    assert (asset.bucket, asset.key, asset.is_zip) == ("bucket", "1.zip", True)


def test_an_unknown_environment_names_those_there_are(assembly: Path) -> None:
    with pytest.raises(AssemblyError, match="holds Dev; wanted the stage of environment 'prod'"):
        read_assembly(assembly, "prod")


def test_a_folder_without_a_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="make synth"):
        read_assembly(tmp_path, "dev")


def resources(**depends: Any) -> Stack:
    template = {"Resources": {name: {"Type": "T", **given} for name, given in depends.items()}}
    return Stack(name="S", account="1", region="r", template=template)


def test_resources_come_after_what_they_refer_to_and_else_in_template_order() -> None:
    stack = resources(
        Policy={"Properties": {"Queue": {"Fn::Sub": "${Queue.Arn}"}}},
        Late={"DependsOn": "Policy"},
        Queue={"Properties": {"Dead": {"Fn::GetAtt": ["Dead", "Arn"]}, "Region": {"Ref": "AWS::Region"}}},
        Dead={},
    )
    assert [name for name, _ in stack.in_creation_order()] == ["Dead", "Queue", "Policy", "Late"]


def test_a_circle_is_named() -> None:
    stack = resources(A={"Properties": {"x": {"Ref": "B"}}}, B={"DependsOn": ["A"]})
    with pytest.raises(AssemblyError, match="circle"):
        list(stack.in_creation_order())
