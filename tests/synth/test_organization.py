"""Service control policies: well formed, within AWS's limits, and denying what they should and nothing else."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from config.environments import PROD

FOLDER = Path(__file__).resolve().parents[2] / "config" / "organization"
POLICIES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
BYTES_MAX = 5120
ADMIN = "arn:aws:iam::333333333333:role/Administrator"
BREAK_GLASS = "arn:aws:iam::333333333333:role/bursa-break-glass"
ROOT = "arn:aws:iam::333333333333:root"
HOME = PROD.region


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def holds(operator: str, wanted: list[str], given: str) -> bool:
    matches = {
        "StringNotEquals": lambda: given not in wanted,
        "ArnLike": lambda: any(fnmatchcase(given, each) for each in wanted),
        "ArnNotLike": lambda: not any(fnmatchcase(given, each) for each in wanted),
    }
    return bool(matches[operator]())  # an operator that is not known here must not pass unseen


def denied(action: str, principal: str, region: str) -> bool:
    context = {"aws:PrincipalArn": principal, "aws:RequestedRegion": region}

    def applies(statement: dict[str, Any]) -> bool:
        named = [fnmatchcase(action, each) for each in listed(statement.get("Action", statement.get("NotAction")))]
        return any(named) is ("Action" in statement) and all(
            holds(operator, listed(wanted), context[key])
            for operator, keys in statement["Condition"].items()
            for key, wanted in keys.items()
        )

    return any(applies(statement) for policy in POLICIES.values() for statement in policy["Statement"])


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_only_denies_under_a_condition_and_fits(name: str) -> None:
    policy = POLICIES[name]
    assert len(json.dumps(policy, separators=(",", ":"))) <= BYTES_MAX
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Deny"
        assert statement["Sid"].isalnum()
        assert statement["Condition"]


@pytest.mark.parametrize(
    ("action", "principal", "region"),
    [
        ("ec2:RunInstances", ADMIN, "eu-west-1"),
        ("s3:CreateBucket", BREAK_GLASS, "us-west-2"),
        ("cloudtrail:StopLogging", ADMIN, HOME),
        ("guardduty:DeleteDetector", ADMIN, HOME),
        ("config:StopConfigurationRecorder", ADMIN, HOME),
        ("s3:BypassGovernanceRetention", ADMIN, HOME),
        ("kms:ScheduleKeyDeletion", ADMIN, HOME),
        ("kms:PutKeyPolicy", ADMIN, HOME),
        ("dynamodb:GetItem", ROOT, HOME),
    ],
)
def test_what_must_not_be_done_is_denied(action: str, principal: str, region: str) -> None:
    assert denied(action, principal, region)


@pytest.mark.parametrize(
    ("action", "principal", "region"),
    [
        ("ec2:RunInstances", ADMIN, HOME),
        ("amplify:CreateApp", ADMIN, PROD.web_region),
        ("wafv2:CreateWebACL", ADMIN, PROD.edge_region),
        ("iam:CreateRole", ADMIN, "eu-west-1"),  # global services answer for the region they like
        ("kms:ScheduleKeyDeletion", BREAK_GLASS, HOME),
        ("kms:Decrypt", ADMIN, HOME),
        ("cloudtrail:LookupEvents", ADMIN, HOME),
    ],
)
def test_what_must_be_done_is_not_denied(action: str, principal: str, region: str) -> None:
    assert not denied(action, principal, region)


def test_the_regions_are_those_of_the_configuration() -> None:
    (statement,) = POLICIES["deny-outside-regions"]["Statement"]
    regions = statement["Condition"]["StringNotEquals"]["aws:RequestedRegion"]
    assert set(regions) == {PROD.region, PROD.web_region, PROD.edge_region}
