"""Hosts of the signing enclaves: nobody connects to them, and they reach KMS and their table and nothing else."""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.host_template import HostTemplate
from exchange_constructs.instance_service import start_script
from exchange_constructs.private_network import APPLICATION, may_call_aws
from exchange_constructs.process import Process
from exchange_constructs.service_role import ServiceRole

BOOT_MINUTES: Final = 5
ENCLAVE_CID: Final = 16
ENCLAVE_PORT: Final = 5000
FORWARDER_PORT: Final = 8000
HEALTH_PORT: Final = 7010
"""On loopback, for the host itself."""
WALLET: Final = "hot-1"


class EnclaveFleet(Construct):
    """Instances of one prepared image, with the parent process outside and the enclave inside.

    There is no key pair, no session manager, no port that is open and no route but to two endpoints; what goes wrong
    is replaced, never repaired. The image holds both parts: nothing is fetched at boot.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        role: ServiceRole,
        signing_table: str,
        disk_key: kms.IKey,
        operators: sns.ITopic,
    ) -> None:
        """Create the launch template and the group; operators hear of every host that comes or goes."""
        super().__init__(scope, construct_id)
        custody = config.custody
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="Hosts of the signing enclaves: no way in", allow_all_outbound=False
        )
        may_call_aws(group)
        template = HostTemplate(
            self,
            "Template",
            instance_type=custody.instance_type,
            machine_image=ec2.MachineImage.generic_linux({config.region: str(custody.machine_image)}),
            nitro_enclave_enabled=True,
            role=role,
            security_group=group,
            disk_key=disk_key,
            user_data=start_script(self, process=self._process(config, signing_table)),
        )
        self.group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            launch_template=template,
            min_capacity=custody.instance_count_min,
            max_capacity=custody.instance_count_max,
            health_checks=autoscaling.HealthChecks.ec2(grace_period=Duration.minutes(BOOT_MINUTES)),
            # A host is young: its enclave holds spending limits in memory, and an old one has used them up.
            max_instance_lifetime=Duration.days(7),
            notifications=[autoscaling.NotificationConfiguration(topic=operators)],
            update_policy=autoscaling.UpdatePolicy.rolling_update(
                max_batch_size=1,
                min_instances_in_service=custody.instance_count_min,
                pause_time=Duration.minutes(BOOT_MINUTES),
            ),
        )

    def _process(self, config: Environment, signing_table: str) -> Process:
        return Process(
            service="wallet_parent",
            module="runtime.wallet_parent.main",
            port=HEALTH_PORT,
            environment={
                "AWS_REGION": config.region,
                "ENCLAVE": f"vsock:{ENCLAVE_CID}:{ENCLAVE_PORT}",
                "KMS_FORWARDER": f"vsock:{FORWARDER_PORT}",
                "KMS_ADDRESS": f"kms.{config.region}.amazonaws.com:443",
                "SIGNING_TABLE": signing_table,
                "WALLET": WALLET,
            },
        )
