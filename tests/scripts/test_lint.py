"""CloudFormation's linter finds nothing in any template, for the region that the template is deployed to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sys.executable).with_name("cfn-lint")
IGNORED = {
    "W3005": "CDK writes a dependency that a reference already says, in its constructs for grants and proxies",
    "W3010": "zones are written out so that synth asks no account; the region they belong to is fixed by config",
}


def lint(templates: list[Path], region: str) -> str:
    options = f"--ignore-checks {' '.join(IGNORED)} --non-zero-exit-code warning --format parseable"
    ran = subprocess.run(
        [str(PROGRAM), *options.split(), "--regions", region, "--template", *map(str, templates)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode in {0, 2, 4, 6}, ran.stderr
    return "\n".join(line for line in ran.stdout.splitlines() if line and not is_unknown_intrinsic(line))


def is_unknown_intrinsic(line: str) -> bool:
    """Tell whether the linter only fails to see that the output of another stack, inside a Join, is a text."""
    return ":E1022:" in line and "{'Fn::GetStackOutput': " in line and "is not of type 'string'" in line


@pytest.mark.parametrize("region", ["ap-southeast-3", "ap-southeast-1", "us-east-1"])
def test_the_linter_finds_nothing(exchanges: dict[str, Any], region: str) -> None:
    templates = [
        exchanges[name].folder / artifact["properties"]["templateFile"]
        for name in ("dev", "prod")  # staging has the structure of prod
        for artifact in json.loads((exchanges[name].folder / "manifest.json").read_text())["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack" and artifact["environment"].endswith(f"/{region}")
    ]
    assert templates
    assert lint(templates, region) == ""


def test_the_linter_is_awake(tmp_path: Path) -> None:
    template = tmp_path / "planted.template.json"
    template.write_text(json.dumps({"Resources": {"App": {"Type": "AWS::Amplify::App", "Properties": {"Name": "a"}}}}))
    assert "E3006" in lint([template], "ap-southeast-3")
    assert lint([template], "ap-southeast-1") == ""
