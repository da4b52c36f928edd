"""A record of every flow in a network."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
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
