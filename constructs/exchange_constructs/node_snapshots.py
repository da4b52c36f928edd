"""Daily snapshots of the nodes' disks, from which a new node starts within the hour instead of after days."""

from typing import Final

from aws_cdk import CfnTag, aws_dlm
from aws_cdk import aws_iam as iam
from constructs import Construct

from config.model import Environment
from exchange_constructs.chain_node import SNAPSHOT_TAG
from exchange_constructs.service_role import ServiceRole

AT_UTC: Final = "18:30"
"""Half past one at night in Jakarta."""
CREATED: Final = "aws:dlm:lifecycle-policy-id"
"""Tag that the service puts on every snapshot it makes."""


class NodeSnapshots(Construct):
    """Whatever is lost with a disk is on the chain as well; snapshots save the days that a sync takes."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the policy over every disk that carries SNAPSHOT_TAG, and the role it acts as."""
        super().__init__(scope, construct_id)
        role = ServiceRole(self, "Role", service="dlm.amazonaws.com", description="Copies the disks of nodes daily")
        aws_dlm.CfnLifecyclePolicy(
            self,
            "Policy",
            description=f"{config.name}: disks of the nodes",
            state="ENABLED",
            execution_role_arn=role.role_arn,
            policy_details=aws_dlm.CfnLifecyclePolicy.PolicyDetailsProperty(
                resource_types=["VOLUME"],
                target_tags=[CfnTag(key=SNAPSHOT_TAG, value="yes")],
                schedules=[
                    aws_dlm.CfnLifecyclePolicy.ScheduleProperty(
                        name="Daily",
                        copy_tags=True,
                        create_rule=aws_dlm.CfnLifecyclePolicy.CreateRuleProperty(
                            interval=24, interval_unit="HOURS", times=[AT_UTC]
                        ),
                        retain_rule=aws_dlm.CfnLifecyclePolicy.RetainRuleProperty(count=config.nodes.snapshots_kept),
                    )
                ],
            ),
        )
        region = config.region
        disks, snapshots = f"arn:aws:ec2:{region}:{config.accounts.nodes}:volume/*", f"arn:aws:ec2:{region}::snapshot/*"
        for statement in (
            iam.PolicyStatement(
                actions=["ec2:CreateSnapshot"],
                resources=[disks],
                conditions={"StringEquals": {f"aws:ResourceTag/{SNAPSHOT_TAG}": "yes"}},
            ),
            iam.PolicyStatement(actions=["ec2:CreateSnapshot"], resources=[snapshots]),
            iam.PolicyStatement(
                actions=["ec2:CreateTags"],
                resources=[snapshots],
                conditions={"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}},
            ),
            iam.PolicyStatement(
                actions=["ec2:DeleteSnapshot"],
                resources=[snapshots],
                conditions={"Null": {f"aws:ResourceTag/{CREATED}": "false"}},
            ),
            iam.PolicyStatement(
                actions=["ec2:DescribeInstances", "ec2:DescribeSnapshots", "ec2:DescribeVolumes"], resources=["*"]
            ),
        ):
            role.add_to_principal_policy(statement)
        self.role = role
