"""What no process of the exchange may ever do, whatever a later grant says."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, cast

from aws_cdk import Stack, Stage
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import HIPAA, NIST, PCI, accept

IDENTITIES: Final = tuple(
    f"iam:{verb}*"
    for verb in (
        "Add",
        "Attach",
        "Create",
        "Deactivate",
        "Delete",
        "Detach",
        "Enable",
        "Put",
        "Remove",
        "Reset",
        "Set",
        "Tag",
        "Untag",
        "Update",
        "Upload",
    )
)
"""Every write to identities; reading them, and passing a role, stay a matter of grants."""
KEYS: Final = (
    "kms:DeleteImportedKeyMaterial",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:UpdatePrimaryRegion",
)
RECORDS: Final = (
    "access-analyzer:DeleteAnalyzer",
    "cloudtrail:DeleteTrail",
    "cloudtrail:PutEventSelectors",
    "cloudtrail:StopLogging",
    "cloudtrail:UpdateTrail",
    "config:DeleteConfigurationRecorder",
    "config:DeleteDeliveryChannel",
    "config:StopConfigurationRecorder",
    "ec2:DeleteFlowLogs",
    "guardduty:DeleteDetector",
    "guardduty:DisassociateFromAdministratorAccount",
    "guardduty:UpdateDetector",
    "inspector2:Disable",
    "logs:DeleteLogGroup",
    "logs:DeleteLogStream",
    "s3:BypassGovernanceRetention",
    "securityhub:BatchDisableStandards",
    "securityhub:DisableSecurityHub",
)
"""What would switch off a record or a detector. RDS monitoring sets the retention of its own log, so that stays out."""
OUTSIDE_REGIONS: Final = ("cloudfront:*", "iam:*", "route53:*", "shield:*", "sts:*", "wafv2:*")
"""Services that answer from a region of their own."""
ORGANIZATION: Final = ("account:*", "organizations:*")


class PermissionBoundary(iam.ManagedPolicy):
    """A ceiling that grants nothing: a role may do what its grants allow and this does not deny.

    In an account of one purpose it also ends what was not foreseen: it names the actions that the roles there are
    granted, and no other. The account of the exchange itself has more actions than fit into one policy.
    Its name is fixed, so that an organization can demand it of every role that a deployment creates.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, actions: Sequence[str] = ("*",)
    ) -> None:
        """Create the policy, one for each account, with `actions` as the ceiling."""
        super().__init__(
            scope,
            construct_id,
            managed_policy_name=boundary_name(config),
            description="What no process of the exchange may do, whatever its grants say",
            statements=[
                iam.PolicyStatement(sid="Ceiling", actions=list(actions), resources=["*"]),
                _never("Organization", ORGANIZATION),
                _never("Identities", IDENTITIES),
                _never("Keys", KEYS),
                _never("Records", RECORDS),
                iam.PolicyStatement(
                    sid="Regions",
                    effect=iam.Effect.DENY,
                    not_actions=list(OUTSIDE_REGIONS),
                    resources=["*"],
                    conditions={
                        "StringNotEquals": {
                            "aws:RequestedRegion": [config.region, config.web_region, config.edge_region]
                        }
                    },
                ),
            ],
        )
        everything = (
            "AwsSolutions-IAM5[Action::*]",
            *(f"{pack}-IAMPolicyNoStatementsWithAdminAccess" for pack in (HIPAA, NIST, PCI)),
            *(f"{pack}-IAMPolicyNoStatementsWithFullAccess" for pack in (HIPAA, NIST, PCI)),
        )
        accept(
            self,
            "AwsSolutions-IAM5[Resource::*]",
            *(everything if "*" in actions else ()),
            reason="A boundary grants nothing: it is what grants are cut down to, and each grant names its resources",
            expires=date(2027, 11, 20),
            owner="security",
        )


def boundary_name(config: Environment) -> str:
    """Return the name of the boundary in each account of an environment."""
    return f"bursa-{config.name}-boundary"


def _never(sid: str, actions: tuple[str, ...]) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, effect=iam.Effect.DENY, actions=list(actions), resources=["*"])


def bound_every_role(stage: Stage, *, config: Environment) -> None:
    """Put every role of `stage` under the boundary, those that CDK makes included.

    The policy lies in the first stack of each account, and every other stack that has roles waits for that one. All
    grants have been made before.
    """
    of_account: dict[str, list[Stack]] = {}
    for stack in [cast(Stack, child) for child in stage.node.children if Stack.is_stack(child)]:
        of_account.setdefault(stack.account, []).append(stack)
    for account, (home, *others) in of_account.items():
        actions = ["*"] if account == config.account else _granted([home, *others])
        own: iam.IManagedPolicy = PermissionBoundary(home, "Boundary", config=config, actions=actions)
        iam.PermissionsBoundary.of(home).apply(own)
        for stack in others:
            if any(isinstance(each, iam.CfnRole) for each in stack.node.find_all()):
                stack.add_stack_dependency(home, "its roles stand under the boundary there")
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                stack, "Boundary", f"arn:aws:iam::{account}:policy/{boundary_name(config)}"
            )
            iam.PermissionsBoundary.of(stack).apply(boundary)


def _granted(stacks: Sequence[Stack]) -> list[str]:
    """Return every action that a role of `stacks` is granted, by a policy of its own or by that of a key."""
    found: set[str] = set()
    for stack in stacks:
        for each in stack.node.find_all():
            if isinstance(each, iam.CfnManagedPolicy):
                found |= _allowed(stack.resolve(each.policy_document))
            elif isinstance(each, kms.CfnKey):
                found |= _allowed(stack.resolve(each.key_policy), to_roles=True)
    return sorted(found)


def _allowed(document: dict[str, Any], *, to_roles: bool = False) -> set[str]:
    """Return the actions that `document` allows; `to_roles`, only those allowed to a role of the same stack."""
    return {
        action
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        and (not to_roles or any("Fn::GetAtt" in each for each in _listed(statement["Principal"].get("AWS", []))))
        for action in _listed(statement["Action"])
    }


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    """Return what a policy may write as one or as a list."""
    return value if isinstance(value, list) else [value]
