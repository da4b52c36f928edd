"""Five rule packs find nothing open, and every finding that was accepted is accepted narrowly, truly and for a time."""

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from constructs import Construct

from exchange_constructs.nag import AS_OF, OWNERS, REASON_LENGTH_MIN, accept, rule_packs
from tests.conftest import Exchange, open_findings, pack_reports

PACKS = {"AwsSolutions", "NIST.800.53.R5", "PCI.DSS.321", "HIPAA.Security", "Serverless"}
WIDE = {
    "aws-cdk-lib.App",
    "aws-cdk-lib.Stage",
    "aws-cdk-lib.Stack",
    "aws-cdk-lib.NestedStack",
    "constructs.Construct",
}
ACCEPTED_PER_RESOURCE_MAX = {"dev": 0.12, "staging": 0.10, "prod": 0.10}
REASON = "A reason for the sake of this test, long enough to be taken"


@pytest.fixture
def assembly(exchanges: dict[str, Exchange]) -> Path:
    """Every environment under every pack."""
    return exchanges["dev"].folder.parent


def suppressed(folder: Path) -> list[dict[str, Any]]:
    return [violation for plugin in pack_reports(folder).values() for violation in plugin["suppressedViolations"]]


def test_no_pack_has_an_open_finding(assembly: Path) -> None:
    plugins = pack_reports(assembly)
    assert plugins.keys() >= PACKS
    assert {plugin["conclusion"] for plugin in plugins.values()} == {"success"}
    assert open_findings(assembly) == []


def test_an_acceptance_is_never_wider_than_one_resource(assembly: Path) -> None:
    kinds: dict[str, str] = {}

    def walk(node: dict[str, Any]) -> None:
        kinds[node["path"]] = node["constructInfo"]["fqn"]
        for child in node.get("children", {}).values():
            walk(child)

    walk(json.loads((assembly / "tree.json").read_text())["tree"])
    accepted = suppressed(assembly)
    assert accepted
    for violation in accepted:
        assert "acknowledgedAt" in violation, violation["ruleName"]
        assert kinds[violation["acknowledgedAt"]] not in WIDE, violation["acknowledgedAt"]


def test_an_acceptance_has_a_reason_an_owner_and_an_end(assembly: Path) -> None:
    for violation in suppressed(assembly):
        record = re.fullmatch(r"(.+) \[owner: (\w+); expires: ([\d-]+)\]", violation["reason"])
        assert record, violation["reason"]
        assert len(record[1]) >= REASON_LENGTH_MIN
        assert record[2] in OWNERS
        assert date.fromisoformat(record[3]) > AS_OF


def test_acceptances_stay_few(assembly: Path) -> None:
    """Each environment keeps to its bound; lower it when a fix lands, never raise it."""
    for name, bound in ACCEPTED_PER_RESOURCE_MAX.items():
        stage = name.title()
        accepted = [each for each in suppressed(assembly) if each["acknowledgedAt"].startswith(f"{stage}/")]
        count = sum(
            len(json.loads(file.read_text()).get("Resources", {}))
            for file in assembly.glob(f"assembly-{stage}/*.template.json")
        )
        assert len(accepted) / count <= bound, f"{name}: {len(accepted)} acceptances, {count} resources"


def test_every_acceptance_in_the_code_meets_a_finding(assembly: Path) -> None:
    """A stale acceptance would lie in wait for the next finding of its name."""
    used = {(violation["acknowledgedAt"], violation["acknowledgedId"]) for violation in suppressed(assembly)}
    declared = {
        (path.removeprefix("/"), finding)
        for file in assembly.glob("assembly-*/*.metadata.json")
        for path, entries in json.loads(file.read_text()).items()
        for entry in entries
        if entry["type"] == "aws:cdk:acknowledged-rules"
        for finding in entry["data"]
        if finding.split("::")[0] in PACKS  # the template validator is off in tests
    }
    assert declared == used


@pytest.fixture
def trial(synth_app: Any, tmp_path: Path) -> Any:
    """Return what synthesizes one stack with the project's packs; it raises RuntimeError on an open finding."""

    def synthesize(build: Callable[[Any], None]) -> str:
        app = synth_app(tmp_path)
        build(cdk.Stack(app, "Trial", env=cdk.Environment(account="123456789012", region="ap-southeast-3")))
        cdk.Validations.of(app).add_plugins(*rule_packs(app))
        try:
            app.synth()
        except RuntimeError:
            return "\n".join(open_findings(tmp_path))
        return ""

    return synthesize


def two_buckets(stack: Any) -> tuple[Any, Any]:
    return s3.Bucket(stack, "First"), s3.Bucket(stack, "Second")


def test_the_packs_are_awake(trial: Any) -> None:
    found = trial(two_buckets)
    for rule in ("AwsSolutions-S1", "NIST.800.53.R5-S3BucketLoggingEnabled", "HIPAA.Security-S3DefaultEncryptionKMS"):
        assert f"{rule}: Trial/First/Resource" in found
    assert "PCI.DSS.321-" in found


def test_an_acceptance_on_one_bucket_leaves_the_other_open(trial: Any) -> None:
    """Below 2.271.0 the library took a prefixed acceptance for the whole app."""

    def build(stack: Any) -> None:
        first, _ = two_buckets(stack)
        accept(first, "AwsSolutions-S1", reason=REASON, expires=date(2027, 1, 1))

    found = trial(build)
    assert "AwsSolutions-S1: Trial/First/Resource" not in found
    assert "AwsSolutions-S1: Trial/Second/Resource" in found


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reason": "because"}, "Trial/First: reason must have at least 40 characters, was 'because'"),
        ({"owner": "nobody"}, "Trial/First: owner must be one of platform, security, was 'nobody'"),
        ({"expires": AS_OF}, f"Trial/First: acceptance of AwsSolutions-S1 expired on {AS_OF}"),
        (
            {"expires": date(2027, 11, 26)},
            "Trial/First: expires must be at most 2027-11-25, a year after the review of",
        ),
    ],
)
def test_a_careless_acceptance_is_refused(change: dict[str, Any], complaint: str) -> None:
    first, _ = two_buckets(cdk.Stack(cdk.App(), "Trial"))
    with pytest.raises(ValueError, match=re.escape(complaint)):
        accept(first, "AwsSolutions-S1", **({"reason": REASON, "expires": date(2027, 1, 1)} | change))


def test_a_whole_stack_cannot_be_excused() -> None:
    stack = cdk.Stack(cdk.App(), "Trial")
    for wide in (stack, Construct(stack, "Part")):
        with pytest.raises(ValueError, match="a finding is accepted on one resource, not on a"):
            accept(wide, "AwsSolutions-S1", reason=REASON, expires=date(2027, 1, 1))
