"""Managed Service for Apache Flink: a Python job over the trade stream, with a checkpointed memory of each market."""

from datetime import date
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisanalyticsv2 as flink
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from config.analytics import JOB_CONNECTORS
from config.model import Environment
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.nag import accept
from exchange_constructs.private_network import APPLICATION, may_call_aws
from exchange_constructs.runtime_code import JobArchive
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

RUNTIME: Final = "FLINK-2_3"
_Flink: Final = flink.CfnApplication
_OPTIONS: Final = "kinesis.analytics.flink.run.options"
_NETWORK: Final = (
    "ec2:CreateNetworkInterface",
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
)


class StreamJob(Construct):
    """Runs a file of `runtime/` inside the application subnets, as itself; its state is under our key.

    CloudFormation has no type in Jakarta that joins an application to a log stream, so the stream is made here and an
    operator joins them once, with the CLI.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        key: kms.IKey,
        service: str,
        entry: str,
        properties: dict[str, str],
    ) -> None:
        """Create the job, which starts when an operator says so. `entry` is the file in the archive of `service`.

        `properties` are the job's settings, in a property group of the service's name.
        """
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.role = ServiceRole(
            self,
            "Role",
            principal=iam.ServicePrincipal(
                "kinesisanalytics.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
            ),
            description=f"What the Flink job of {service} may do",
        )
        archive = JobArchive(self, "Archive", service=service)
        archive.grant_fetch(self.role)
        key.grant(self.role, "kms:Decrypt", "kms:GenerateDataKey")
        group = ServiceLogs(self, "Logs", config=config, key=platform.keys.logs)
        group.grant_write(self.role)
        logs.LogStream(self, "LogStream", log_group=group, log_stream_name="job")
        access = ec2.SecurityGroup(
            self, "Access", vpc=platform.vpc, description=f"Flink job of {service}", allow_all_outbound=False
        )
        may_call_aws(access)
        job = flink.CfnApplication(
            self,
            "Application",
            runtime_environment=RUNTIME,
            service_execution_role=self.role.role_arn,
            application_description=f"{config.name}: {service} over the trade stream",
            application_configuration=_Flink.ApplicationConfigurationProperty(
                application_code_configuration=_Flink.ApplicationCodeConfigurationProperty(
                    code_content_type="ZIPFILE",
                    code_content=_Flink.CodeContentProperty(
                        s3_content_location=_Flink.S3ContentLocationProperty(
                            bucket_arn=archive.bucket.bucket_arn, file_key=archive.s3_object_key
                        )
                    ),
                ),
                application_encryption_configuration=_Flink.ApplicationEncryptionConfigurationProperty(
                    key_type="CUSTOMER_MANAGED_KEY", key_id=key.key_arn
                ),
                application_snapshot_configuration=_Flink.ApplicationSnapshotConfigurationProperty(
                    snapshots_enabled=True
                ),
                application_system_rollback_configuration=_Flink.ApplicationSystemRollbackConfigurationProperty(
                    rollback_enabled=True
                ),
                environment_properties=_Flink.EnvironmentPropertiesProperty(
                    property_groups=[
                        _Flink.PropertyGroupProperty(
                            property_group_id=_OPTIONS, property_map={"python": entry, "jarfile": JOB_CONNECTORS}
                        ),
                        _Flink.PropertyGroupProperty(property_group_id=service, property_map=properties),
                    ]
                ),
                flink_application_configuration=_Flink.FlinkApplicationConfigurationProperty(
                    checkpoint_configuration=_Flink.CheckpointConfigurationProperty(configuration_type="DEFAULT"),
                    monitoring_configuration=_Flink.MonitoringConfigurationProperty(
                        configuration_type="CUSTOM", log_level="INFO", metrics_level="APPLICATION"
                    ),
                    parallelism_configuration=_Flink.ParallelismConfigurationProperty(
                        configuration_type="CUSTOM",
                        parallelism=config.analytics.stream_job.parallelism,
                        parallelism_per_kpu=1,
                        auto_scaling_enabled=False,  # values come from config alone
                    ),
                ),
                vpc_configurations=[
                    _Flink.VpcConfigurationProperty(
                        subnet_ids=platform.vpc.select_subnets(subnet_group_name=APPLICATION).subnet_ids,
                        security_group_ids=[access.security_group_id],
                    )
                ],
            ),
        )
        job.node.add_dependency(self.role)
        self._join_network()

    def _join_network(self) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=list(_NETWORK), resources=["*"]))
        accept(
            self.role.policy,
            "AwsSolutions-IAM5[Resource::*]",
            reason="The service makes and deletes interfaces as the role of the job; they have no name beforehand",
            expires=date(2027, 11, 20),
            owner="security",
        )
