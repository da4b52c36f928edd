"""One node of a chain on one architecture: a host that comes and goes, and a disk that stays."""

import json
from datetime import date
from pathlib import Path
from typing import Final

from aws_cdk import Duration, RemovalPolicy, Size, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from config.nodes import PROGRAMS, ChainConfig, NodeBuild
from exchange_constructs.host_template import HostTemplate
from exchange_constructs.instance_service import start_script, written
from exchange_constructs.nag import accept
from exchange_constructs.node_network import NodeNetwork
from exchange_constructs.process import Process
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.tiers import APPLICATION

BOOT_MINUTES: Final = 15
"""From the start of a host to a node that has read its disk."""
SIDECAR_PORT: Final = 8600
NODE: Final = {"ethereum": "127.0.0.1:8545", "bitcoin": "127.0.0.1:8332"}
CONSENSUS: Final = "127.0.0.1:5052"
COOKIE: Final = "/var/lib/node/.cookie"
_FILES: Final = Path(__file__).resolve().parent / "instance"


class ChainNode(Construct):
    """A group of exactly one host. The next one waits for the disk, and starts where the last one ended.

    Its image has the node, the sidecar and their units; nothing is fetched at boot, and a program whose digest is not
    the configured one is not started. There is no key pair and no port but the sidecar's: what goes wrong is replaced.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        chain: ChainConfig,
        build: NodeBuild,
        network: NodeNetwork,
        zone: str,
        disk_key: kms.IKey,
        operators: sns.ITopic,
    ) -> None:
        """Create disk, role, launch template and group in one `zone`, as a disk does not leave its own."""
        super().__init__(scope, construct_id)
        self._chain, self._build = chain, build
        self.volume = ec2.Volume(
            self,
            "Disk",
            availability_zone=zone,
            size=Size.gibibytes(chain.data_gib),
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            iops=chain.iops,
            throughput=chain.throughput_mib,
            encrypted=True,
            encryption_key=kms.Key.from_key_arn(self, "DiskKey", disk_key.key_arn),
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        role = ServiceRole(
            self, "Role", service="ec2.amazonaws.com", description=f"What a {chain.name} node's host may do"
        )
        group = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description=f"Nodes of {chain.name}", allow_all_outbound=False
        )
        network.may_call_peers(group, chain)
        network.compute.connections.allow_default_port_from(group, "Attaches its disk")
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(SIDECAR_PORT))
        template = HostTemplate(
            self,
            "Template",
            instance_type=build.instance_type,
            machine_image=ec2.MachineImage.generic_linux({config.region: str(build.machine_image)}),
            role=role,
            security_group=group,
            disk_key=disk_key,
            user_data=self._start(config.region),
        )
        self.group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            vpc=network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION, availability_zones=[zone]),
            launch_template=template,
            min_capacity=1,
            max_capacity=1,
            # The balancer asks whether the sidecar looks at its node, not whether the node is believed: one that syncs
            # for a day is not, and replacing its host would not help.
            health_checks=autoscaling.HealthChecks.with_additional_checks(
                additional_types=[autoscaling.AdditionalHealthCheckType.ELB],
                grace_period=Duration.minutes(BOOT_MINUTES),
            ),
            notifications=[autoscaling.NotificationConfiguration(topic=operators)],
            # The old host first: a disk is attached to one.
            update_policy=autoscaling.UpdatePolicy.rolling_update(max_batch_size=1, min_instances_in_service=0),
        )
        self._let_attach(role, disk_key)

    @property
    def name(self) -> str:
        """Chain and architecture."""
        return f"{self._chain.name}-{self._build.architecture.replace('_', '-')}"

    def _let_attach(self, role: ServiceRole, disk_key: kms.IKey) -> None:
        """Let the host attach this disk, to a host of this group alone."""
        mark = f"bursa:node:{self.name}"
        Tags.of(self.group).add(mark, "yes")
        stack = self.volume.stack
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["ec2:AttachVolume"],
                resources=[stack.format_arn(service="ec2", resource="volume", resource_name=self.volume.volume_id)],
            )
        )
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["ec2:AttachVolume"],
                resources=[stack.format_arn(service="ec2", resource="instance", resource_name="*")],
                conditions={"StringEquals": {f"aws:ResourceTag/{mark}": "yes"}},
            )
        )
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["kms:CreateGrant"],
                resources=[disk_key.key_arn],
                conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
            )
        )
        accept(
            role.policy,
            f"AwsSolutions-IAM5[Resource::arn:aws:ec2:{stack.region}:{stack.account}:instance/*]",
            reason="A host's id is not known before it starts; the condition holds it to the hosts of this one group",
            expires=date(2027, 11, 20),
            owner="security",
        )

    def _start(self, region: str) -> ec2.UserData:
        chain = self._chain
        digests = "\n".join(
            f"{digest}  /usr/local/lib/node/{name}"
            for name, digest in zip(PROGRAMS[chain.name], self._build.digests, strict=True)
        )
        settings = {"chain": chain.name, "network": str(chain.network), "data": "/var/lib/node"}
        return start_script(
            self,
            process=Process(
                service=f"node-{self.name}",
                module="runtime.chain.sidecar",
                port=SIDECAR_PORT,
                environment={
                    # Behind the balancer; the node itself listens on loopback only.
                    "LISTEN_HOST": "0.0.0.0",  # noqa: S104 - behind its security group
                    "CHAIN": chain.name,
                    "NODE_ADDRESS": NODE[chain.name],
                    "NETWORK": str(chain.network),
                    "GENESIS": str(chain.genesis),
                    **({"CONSENSUS_ADDRESS": CONSENSUS} if chain.name == "ethereum" else {"RPC_COOKIE_FILE": COOKIE}),
                },
            ),
            before=(
                f"export AWS_REGION={region} VOLUME={self.volume.volume_id} DATA=/var/lib/node",
                *written("/usr/local/lib/bursa/attach_disk.sh", (_FILES / "attach_disk.sh").read_text()),
                "bash /usr/local/lib/bursa/attach_disk.sh",
                *written("/etc/bursa/programs.sha256", digests),
                "sha256sum --check --strict --quiet /etc/bursa/programs.sha256",
                *written("/etc/bursa/node.json", json.dumps(settings)),
                *(f"systemctl enable --now node-{name}" for name in PROGRAMS[chain.name]),
            ),
        )
