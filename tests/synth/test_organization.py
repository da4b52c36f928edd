"""Policies of the organization: well formed, within AWS's limits, and denying what they should and nothing else."""

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from config.environments import PROD

FOLDER = Path(__file__).resolve().parents[2] / "config" / "organization"
POLICIES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
HOME_ONLY = "deny-outside-home"
"""For accounts without a resource elsewhere, in the place of the one for the others."""
OF_RESOURCES = "break-glass-at-home"
"""A resource control policy; the others are service control policies."""
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


def denied(
    action: str,
    principal: str,
    region: str,
    *,
    resource: str = "arn:aws:x:::any",
    but: tuple[str, ...] = (HOME_ONLY,),
) -> bool:
    """Whether any policy `but` some denies it."""
    context = {"aws:PrincipalArn": principal, "aws:RequestedRegion": region}

    def applies(statement: dict[str, Any]) -> bool:
        named = [fnmatchcase(action, each) for each in listed(statement.get("Action", statement.get("NotAction")))]
        named_resource = any(fnmatchcase(resource, each) for each in listed(statement["Resource"]))
        return (
            named_resource
            and any(named) is ("Action" in statement)
            and all(
                holds(operator, listed(wanted), context[key])
                for operator, keys in statement["Condition"].items()
                for key, wanted in keys.items()
            )
        )

    policies = [policy for name, policy in POLICIES.items() if name not in but]
    return any(applies(statement) for policy in policies for statement in policy["Statement"])


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_only_denies_under_a_condition_and_fits(name: str) -> None:
    policy = POLICIES[name]
    assert len(json.dumps(policy, separators=(",", ":"))) <= BYTES_MAX
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Deny"
        assert statement["Sid"].isalnum()
        assert statement["Condition"]
        assert statement.get("Principal") == ("*" if name == OF_RESOURCES else None)


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


ACCOUNT_ROLE = "arn:aws:iam::333333333331:role/{}"


@pytest.mark.parametrize("action", ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"])
def test_break_glass_is_taken_at_home_where_a_rule_hears_of_it(action: str) -> None:
    """A call to the global endpoint of STS has us-east-1 as its region, wherever it is served."""
    assert PROD.custody.break_glass_role == ACCOUNT_ROLE.format("bursa-break-glass")
    for region, is_denied in ((HOME, False), (PROD.edge_region, True), (PROD.web_region, True)):
        role = ACCOUNT_ROLE.format("bursa-break-glass")
        assert denied(action, ADMIN, region, resource=role) is is_denied
        assert not denied(action, ADMIN, region, resource=ACCOUNT_ROLE.format("Administrator"))


def test_accounts_without_a_resource_elsewhere_work_at_home_alone(prod: Any) -> None:
    elsewhere = (PROD.web_region, PROD.edge_region)
    at_home = ("deny-outside-regions",)
    assert all(denied("ec2:RunInstances", BREAK_GLASS, region, but=at_home) for region in elsewhere)
    assert not denied("ec2:RunInstances", ADMIN, HOME, but=at_home)
    assert not denied("iam:CreateRole", ADMIN, PROD.edge_region, but=at_home)
    (near,) = POLICIES[HOME_ONLY]["Statement"]
    (far,) = POLICIES["deny-outside-regions"]["Statement"]
    assert near["NotAction"] == far["NotAction"]
    manifest = json.loads((prod.folder / "manifest.json").read_text())["artifacts"].values()
    places = {each["environment"] for each in manifest if each["type"] == "aws:cloudformation:stack"}
    assert {place for place in places if not place.endswith(f"/{HOME}")} == {
        f"aws://{PROD.account}/{region}" for region in elsewhere
    }


def test_the_regions_are_those_of_the_configuration() -> None:
    (statement,) = POLICIES["deny-outside-regions"]["Statement"]
    regions = statement["Condition"]["StringNotEquals"]["aws:RequestedRegion"]
    assert set(regions) == {PROD.region, PROD.web_region, PROD.edge_region}
    for name in (HOME_ONLY, OF_RESOURCES):
        (statement,) = POLICIES[name]["Statement"]
        assert statement["Condition"]["StringNotEquals"]["aws:RequestedRegion"] == PROD.region
