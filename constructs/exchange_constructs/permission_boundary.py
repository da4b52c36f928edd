"""What no process of the exchange may ever do, whatever a later grant says."""

from datetime import date
from typing import Final, cast

from aws_cdk import Stack, Stage
from aws_cdk import aws_iam as iam
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

    Its name is fixed, so that an organization can demand it of every role that a deployment creates.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the policy, one for each account."""
        super().__init__(
            scope,
            construct_id,
            managed_policy_name=boundary_name(config),
            description="What no process of the exchange may do, whatever its grants say",
            statements=[
                iam.PolicyStatement(sid="Ceiling", actions=["*"], resources=["*"]),
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
        accept(
            self,
            "AwsSolutions-IAM5[Action::*]",
            "AwsSolutions-IAM5[Resource::*]",
            *(f"{pack}-IAMPolicyNoStatementsWithAdminAccess" for pack in (HIPAA, NIST, PCI)),
            *(f"{pack}-IAMPolicyNoStatementsWithFullAccess" for pack in (HIPAA, NIST, PCI)),
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

    The policy lies in the first stack of each account, and every other stack of the account waits for that one.
    """
    homes: dict[str, Stack] = {}
    for stack in [cast(Stack, child) for child in stage.node.children if Stack.is_stack(child)]:
        if stack.account not in homes:
            homes[stack.account] = stack
            boundary: iam.IManagedPolicy = PermissionBoundary(stack, "Boundary", config=config)
        else:
            stack.add_stack_dependency(homes[stack.account], "its roles stand under the boundary there")
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                stack, "Boundary", f"arn:aws:iam::{stack.account}:policy/{boundary_name(config)}"
            )
        iam.PermissionsBoundary.of(stack).apply(boundary)
