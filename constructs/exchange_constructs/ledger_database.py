"""The relational store: Aurora PostgreSQL with its ledger, orders, trades and accounts."""

from datetime import date
from typing import Final

from aws_cdk import Duration, Names, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import HIPAA, NIST, accept
from exchange_constructs.private_network import DATA
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

PORT: Final = 7432
DATABASE_NAME: Final = "bursa"
ENGINE: Final = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_5)


class LedgerDatabase(Construct):
    """A writer and readers in several zones, encrypted, backed up, TLS only; its password lives in one secret."""

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
        """Create the cluster, its secret and its log group."""
        super().__init__(scope, construct_id)
        self._key = key
        self._reader_count = config.database.reader_count
        login = rds.DatabaseSecret(self, "Login", username="bursa", dbname=DATABASE_NAME, encryption_key=key)
        login.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        # Aurora writes to a log group of a prescribed name; made here first, it has our key and retention.
        identifier = Names.unique_resource_name(self, max_length=50, separator="-").lower()
        log_group = ServiceLogs(
            self, "Logs", config=config, key=logs_key, name=f"/aws/rds/cluster/{identifier}/postgresql"
        )
        group = ec2.SecurityGroup(
            self,
            "Access",
            vpc=vpc,
            description="Ledger database: services that hold its secret",
            allow_all_outbound=False,
        )
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PORT))
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            cluster_identifier=identifier,
            engine=ENGINE,
            parameters={"rds.force_ssl": "1", "log_min_duration_statement": "1000"},
            credentials=rds.Credentials.from_secret(login),
            default_database_name=DATABASE_NAME,
            port=PORT,
            iam_authentication=True,
            serverless_v2_min_capacity=config.database.capacity_units_min,
            serverless_v2_max_capacity=config.database.capacity_units_max,
            writer=rds.ClusterInstance.serverless_v2(
                "Writer",
                publicly_accessible=False,
                enable_performance_insights=True,
                performance_insight_encryption_key=key,
            ),
            readers=[
                # The first reader grows with the writer, so that it can take over at full load.
                rds.ClusterInstance.serverless_v2(
                    f"Reader{number}",
                    scale_with_writer=number == 1,
                    publicly_accessible=False,
                    enable_performance_insights=True,
                    performance_insight_encryption_key=key,
                )
                for number in range(1, config.database.reader_count + 1)
            ],
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=DATA),
            security_groups=[group],
            storage_encrypted=True,
            storage_encryption_key=key,
            backup=rds.BackupProps(retention=Duration.days(config.database.backup_retention_days)),
            copy_tags_to_snapshot=True,
            cloudwatch_logs_exports=["postgresql"],
            monitoring_interval=Duration.seconds(60),
            monitoring_role=self._monitoring_role(),
            enable_performance_insights=True,
            performance_insight_encryption_key=key,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.SNAPSHOT,
        )
        self.cluster.node.add_dependency(log_group)
        self._accept_findings(login)

    @property
    def secret_arn(self) -> str:
        """ARN of the secret with host, port, username, password and dbname."""
        assert self.cluster.secret is not None
        return self.cluster.secret.secret_arn

    def grant_connect(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read the secret that opens the database."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["secretsmanager:GetSecretValue"], resource_arns=[self.secret_arn]
        )
        self._key.grant(grantee, "kms:Decrypt")

    def _monitoring_role(self) -> iam.Role:
        """Return the role of Aurora's monitoring agent, which makes and fills one log group of a prescribed name."""
        role = ServiceRole(
            self,
            "MonitoringRole",
            service="monitoring.rds.amazonaws.com",
            description="Publishes OS metrics of the database",
        )
        stack = Stack.of(self)
        group = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:RDSOSMetrics"
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=["logs:CreateLogGroup", "logs:PutRetentionPolicy"], resources=[group])
        )
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:PutLogEvents"],
                resources=[f"{group}:log-stream:*"],
            )
        )
        accept(
            role.policy,
            f"AwsSolutions-IAM5[Resource::{group}:log-stream:*]",
            reason="Aurora names a log stream after each instance, inside the one group that this role may write to",
            expires=date(2027, 11, 30),
        )
        return role

    def _accept_findings(self, login: rds.DatabaseSecret) -> None:
        accept(
            login,
            "AwsSolutions-SMG4",
            *(f"{pack}-SecretsManagerRotationEnabled" for pack in (HIPAA, NIST)),
            reason="Services read the password at start: a rotation under them would cut them off. It is rotated by"
            " hand, with a restart, until they sign in with IAM tokens, which the cluster takes already",
            expires=date(2027, 6, 30),
            owner="security",
        )
        for name in ("Writer", *(f"Reader{number}" for number in range(1, self._reader_count + 1))):
            accept(
                self.cluster.node.find_child(name),
                *(f"{pack}-RDSInBackupPlan" for pack in (HIPAA, NIST)),
                reason="Aurora instances hold no data of their own: their cluster is backed up all the time",
                expires=date(2027, 6, 30),
            )
