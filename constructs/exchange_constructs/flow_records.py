"""A record of every flow in a network."""

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import audit_bucket_name
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole


class FlowRecords(Construct):
    """Who talked to whom, accepted and refused, in a log group under our key."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, vpc: ec2.IVpc, logs_key: kms.IKey
    ) -> None:
        """Record the flows of `vpc`."""
        super().__init__(scope, construct_id)
        ec2.FlowLog(
            self,
            "FlowLog",
            resource_type=ec2.FlowLogResourceType.from_vpc(vpc),
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(
                ServiceLogs(self, "Logs", config=config, key=logs_key),
                ServiceRole(
                    self, "Role", service="vpc-flow-logs.amazonaws.com", description="Writes a network's flow logs"
                ),
            ),
        )
        LockedFlows(self, "Locked", config=config, vpc=vpc)


class LockedFlows(Construct):
    """The same once more, in the archive of the audit account, where nobody who acts can reach it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, vpc: ec2.IVpc) -> None:
        """Record the flows of `vpc`, as Parquet. The archive is known by its name and must be there before."""
        super().__init__(scope, construct_id)
        ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=vpc.vpc_id,
            resource_type="VPC",
            traffic_type="ALL",
            log_destination_type="s3",
            log_destination=f"arn:{Stack.of(self).partition}:s3:::{audit_bucket_name(config)}",
            destination_options={
                "FileFormat": "parquet",
                "HiveCompatiblePartitions": False,
                "PerHourPartition": False,
            },
        )
