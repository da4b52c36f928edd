"""The ceiling over every role: who stands under it, what it denies, and that no grant of ours hits it."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from local.grants.policy import Call, Policies, decide, statements


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def boundaries(exchange: Any) -> dict[str, dict[str, Any]]:
    """Return the boundary policies, by the stack each lies in."""
    name = f"bursa-{exchange.config.name}-boundary"
    return {
        path.split("/")[0]: policy
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if policy.get("ManagedPolicyName") == name
    }


def of_core(exchange: Any) -> dict[str, Any]:
    """Return the boundary of the core account; where that is the only one, `Audit` comes first in it."""
    homes = boundaries(exchange)
    return homes.get("Foundation", homes["Audit"])


def unbound(exchange: Any) -> list[str]:
    """Return every role that does not stand under the boundary of an account of ours."""
    accounts = exchange.config.accounts.distinct().values()
    own = {f"arn:aws:iam::{account}:policy/bursa-{exchange.config.name}-boundary" for account in accounts}
    found = []
    for path, role in exchange.of_type("AWS::IAM::Role", "AWS::IAM::User"):
        given = role.get("PermissionsBoundary")
        by_reference = isinstance(given, dict) and exchange.text(given).startswith("<Boundary")
        if not by_reference and given not in own:
            found.append(path)
    return found


def test_every_role_stands_under_the_boundary(exchange: Any) -> None:
    assert len(list(exchange.of_type("AWS::IAM::Role"))) > 20
    assert unbound(exchange) == []


def test_a_role_that_forgot_the_boundary_is_named(prod: Any) -> None:
    stacks = copy.deepcopy(prod.stacks)
    name, role = next((n, r) for n, r in stacks["Engine"]["Resources"].items() if r["Type"] == "AWS::IAM::Role")
    del role["Properties"]["PermissionsBoundary"]
    assert unbound(dataclasses.replace(prod, stacks=stacks)) == [f"Engine/{name}"]


def test_each_account_has_one_boundary_in_the_stack_that_comes_first(exchange: Any) -> None:
    homes = boundaries(exchange)
    assert len(homes) == len(exchange.config.accounts.distinct())
    denied = [
        [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]
        for policy in homes.values()
    ]
    assert all(each == denied[0] for each in denied)
    assert "Audit" in homes
    assert "Foundation" in homes or len(homes) == 1
    assert all("Roles" not in policy for policy in homes.values())  # as a grant it would be a grant of nearly all


def said(exchange: Any, action: str, region: str = "ap-southeast-3") -> bool:
    """Whether the boundary lets a role that may do everything do `action`."""
    call = Call(
        role="arn:aws:iam::123456789012:role/any",
        service="",
        action=action,
        resource="arn:aws:x:::any",
        context=(("aws:requestedregion", (region,)),),
    )
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = of_core(exchange)["PolicyDocument"]
    policies = Policies(identity=statements(everything, "all"), boundary=statements(boundary, "boundary"))
    return decide(call, policies).is_allowed


@pytest.mark.parametrize(
    "action",
    [
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "iam:AttachRolePolicy",
        "iam:DeleteRolePermissionsBoundary",
        "iam:UpdateAssumeRolePolicy",
        "kms:PutKeyPolicy",
        "kms:ScheduleKeyDeletion",
        "kms:DisableKey",
        "cloudtrail:StopLogging",
        "guardduty:DeleteDetector",
        "config:StopConfigurationRecorder",
        "logs:DeleteLogGroup",
        "s3:BypassGovernanceRetention",
        "organizations:LeaveOrganization",
    ],
)
def test_no_process_may_ever(prod: Any, action: str) -> None:
    assert not said(prod, action)


def test_a_process_works_in_our_regions_only(prod: Any) -> None:
    config = prod.config
    assert all(said(prod, "s3:PutObject", each) for each in (config.region, config.web_region, config.edge_region))
    assert not said(prod, "s3:PutObject", "eu-central-1")
    assert said(prod, "sts:GetCallerIdentity", "aws-global")


def grants(exchange: Any) -> Iterator[tuple[str, str]]:
    """Yield every action that an identity policy of ours allows; the boundary itself is none."""
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if "ManagedPolicyName" in policy:
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                yield from ((path, action) for action in listed(statement.get("Action", [])))


def test_no_grant_of_ours_hits_the_ceiling(exchange: Any) -> None:
    """Else a deployment succeeds and the process fails."""
    denied = [
        action
        for statement in of_core(exchange)["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and "Condition" not in statement
        for action in listed(statement["Action"])
    ]
    assert denied
    hits = [
        (path, action)
        for path, action in grants(exchange)
        if any(fnmatchcase(action, each) or fnmatchcase(each, action) for each in denied)
    ]
    assert hits == []


def ceiling(policy: dict[str, Any]) -> set[str]:
    (allow,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    return set(listed(allow["Action"]))


def granted_in(exchange: Any, stacks: set[str]) -> set[str]:
    """Return what roles of `stacks` are granted, by their own policies and by those of keys in the same stack."""
    found = {action for path, action in grants(exchange) if path.split("/")[0] in stacks}
    for path, key in exchange.of_type("AWS::KMS::Key"):
        if path.split("/")[0] in stacks:
            for statement in key["KeyPolicy"]["Statement"]:
                if "Fn::GetAtt" in str(statement["Principal"].get("AWS", "")):
                    found |= set(listed(statement["Action"]))
    return found


def test_in_an_account_of_one_purpose_the_ceiling_is_what_its_roles_are_granted(exchange: Any) -> None:
    manifest = json.loads((exchange.folder / "manifest.json").read_text())
    of_account: dict[str, set[str]] = {}
    for artifact in manifest["artifacts"].values():
        if artifact["type"] == "aws:cloudformation:stack":
            account = artifact["environment"].split("/")[2]
            of_account.setdefault(account, set()).add(
                artifact["properties"]["stackName"].removeprefix(f"{exchange.stage}-")
            )
    assert len(of_account) == len(exchange.config.accounts.distinct())
    for account, stacks in of_account.items():
        ((_, policy),) = [each for each in boundaries(exchange).items() if each[0] in stacks]
        own = account == exchange.config.account
        assert ceiling(policy) == ({"*"} if own else granted_in(exchange, stacks)), account


def test_the_signers_ceiling_has_its_keys_and_no_more_than_a_few_actions(prod: Any) -> None:
    policy = boundaries(prod)["SecurityWallet"]
    assert {"kms:Decrypt", "kms:GenerateDataKey", "dynamodb:UpdateItem"} <= ceiling(policy)
    assert not [action for action in ceiling(policy) if "*" in action or action.startswith(("iam:", "s3:"))]
