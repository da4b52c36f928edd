"""The engine's command journal: Kafka, written before anything is acknowledged.

The one place where structure differs between environments: MSK Serverless where cost decides, brokers of our own
where a known disk, a known replica count and a known version matter.
"""

from typing import Final

from aws_cdk import Arn, ArnComponents, ArnFormat, Fn, Names, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_msk as msk
from constructs import Construct

from config.model import BrokerConfig, Environment
from exchange_constructs.private_network import DATA
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

PORT: Final = 9098
"""Where Kafka listens for clients that sign in with IAM."""
KAFKA_VERSION: Final = "3.9.x"
SERVER_PROPERTIES: Final = """\
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
log.retention.ms=-1
"""
"""A command is durable on two of three replicas before it is acknowledged, and stays until its topic is deleted."""


LOGS: Final = ("commands", "events")
"""Each is a topic per market group; the writer of the first fences its predecessor by a transactional id so named."""
CONSUMER_GROUP: Final = "bursa-engine"


class CommandJournal(Construct):
    """A Kafka cluster that takes IAM identities only, over TLS. Brokers of our own are under our key as well."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        key: kms.IKey,
        logs_key: kms.IKey,
    ) -> None:
        """Create the cluster; AWS demands a name for it."""
        super().__init__(scope, construct_id)
        self._name = Names.unique_resource_name(self, max_length=60, separator="-")
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="Command journal: engines only", allow_all_outbound=False
        )
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PORT))
        subnets = vpc.select_subnets(subnet_group_name=DATA).subnet_ids
        if config.journal_brokers is None:
            self.cluster_arn = self._serverless(config, subnets, group)
        else:
            logs = ServiceLogs(self, "Logs", config=config, key=logs_key)
            self.cluster_arn = self._provisioned(config, config.journal_brokers, subnets, group, key, logs)

    def grant_append_and_read(self, grantee: ServiceRole, *, group: str) -> None:
        """Let `grantee` find the brokers, and write and read the logs of one market group, as their one writer."""
        topics = [self._arn_of("topic", f"{log}-{group}") for log in LOGS]
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kafka:GetBootstrapBrokers", "kafka-cluster:Connect", "kafka-cluster:WriteDataIdempotently"],
            resource_arns=[self.cluster_arn],
        )
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[
                "kafka-cluster:CreateTopic",
                "kafka-cluster:DescribeTopic",
                "kafka-cluster:ReadData",
                "kafka-cluster:WriteData",
            ],
            resource_arns=topics,
        )
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kafka-cluster:AlterTransactionalId", "kafka-cluster:DescribeTransactionalId"],
            resource_arns=[self._arn_of("transactional-id", f"{LOGS[0]}-{group}")],
        )
        # The library asks who coordinates the group it was named, though no group is ever joined.
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kafka-cluster:DescribeGroup"],
            resource_arns=[self._arn_of("group", CONSUMER_GROUP)],
        )

    def _arn_of(self, kind: str, name: str) -> str:
        """Return the ARN of a topic, transactional id or group of this cluster, whose own ARN ends in name and UUID."""
        uuid = Fn.select(2, Fn.split("/", self.cluster_arn))
        return Arn.format(
            ArnComponents(
                service="kafka",
                resource=kind,
                resource_name=f"{self._name}/{uuid}/{name}",
                arn_format=ArnFormat.SLASH_RESOURCE_NAME,
            ),
            Stack.of(self),
        )

    def _serverless(self, config: Environment, subnets: list[str], group: ec2.ISecurityGroup) -> str:
        cluster = msk.CfnServerlessCluster(
            self,
            "Serverless",
            cluster_name=self._name,
            client_authentication=msk.CfnServerlessCluster.ClientAuthenticationProperty(
                sasl=msk.CfnServerlessCluster.SaslProperty(iam=msk.CfnServerlessCluster.IamProperty(enabled=True))
            ),
            vpc_configs=[
                msk.CfnServerlessCluster.VpcConfigProperty(
                    subnet_ids=subnets, security_groups=[group.security_group_id]
                )
            ],
        )
        cluster.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        return cluster.attr_arn

    def _provisioned(
        self,
        config: Environment,
        brokers: BrokerConfig,
        subnets: list[str],
        group: ec2.ISecurityGroup,
        key: kms.IKey,
        logs: ServiceLogs,
    ) -> str:
        settings = msk.CfnConfiguration(self, "Settings", name=self._name, server_properties=SERVER_PROPERTIES)
        cluster = msk.CfnCluster(
            self,
            "Provisioned",
            cluster_name=self._name,
            kafka_version=KAFKA_VERSION,
            number_of_broker_nodes=brokers.count_per_zone * config.network.az_count,
            enhanced_monitoring="PER_TOPIC_PER_BROKER",
            broker_node_group_info=msk.CfnCluster.BrokerNodeGroupInfoProperty(
                instance_type=brokers.instance_type,
                client_subnets=subnets,
                security_groups=[group.security_group_id],
                storage_info=msk.CfnCluster.StorageInfoProperty(
                    ebs_storage_info=msk.CfnCluster.EBSStorageInfoProperty(volume_size=brokers.storage_gib)
                ),
            ),
            configuration_info=msk.CfnCluster.ConfigurationInfoProperty(arn=settings.attr_arn, revision=1),
            client_authentication=msk.CfnCluster.ClientAuthenticationProperty(
                sasl=msk.CfnCluster.SaslProperty(iam=msk.CfnCluster.IamProperty(enabled=True)),
                unauthenticated=msk.CfnCluster.UnauthenticatedProperty(enabled=False),
            ),
            encryption_info=msk.CfnCluster.EncryptionInfoProperty(
                encryption_at_rest=msk.CfnCluster.EncryptionAtRestProperty(data_volume_kms_key_id=key.key_arn),
                encryption_in_transit=msk.CfnCluster.EncryptionInTransitProperty(client_broker="TLS", in_cluster=True),
            ),
            logging_info=msk.CfnCluster.LoggingInfoProperty(
                broker_logs=msk.CfnCluster.BrokerLogsProperty(
                    cloud_watch_logs=msk.CfnCluster.CloudWatchLogsProperty(enabled=True, log_group=logs.log_group_name)
                )
            ),
        )
        cluster.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        return cluster.attr_arn
