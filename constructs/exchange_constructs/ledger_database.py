"""The relational store: Aurora PostgreSQL with its ledger, orders, trades and accounts, and the proxy before it."""

from datetime import date
from typing import Final

from aws_cdk import Duration, Names, RemovalPolicy, Stack, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from constructs import Construct

from config.model import Environment
from exchange_constructs.event_function import EventFunction
from exchange_constructs.nag import HIPAA, NIST, accept
from exchange_constructs.private_network import DATA
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

PORT: Final = 7432
PROXY_PORT: Final = 5432
"""Where RDS Proxy listens for PostgreSQL clients, whatever the port of the database."""
PROXY_AUTHORITIES: Final = "/opt/python/botocore/cacert.pem"
"""Roots, in the functions' layer, against which they verify the proxy: Amazon Trust Services signs its certificate."""
DATABASE_AUTHORITIES: Final = "/opt/python/rds.pem"
"""Roots, in the same layer, against which they verify the database itself: RDS signs its certificate."""
WRITER: Final = "ledger_writer"
"""Adds to the ledger, deletes nothing; what each user may do is in the migrations of runtime/ledger."""
READER: Final = "ledger_reader"
REGULATOR: Final = "regulator"
"""Reads the views made for the supervisor, for functions that answer it."""
DATABASE_NAME: Final = "bursa"
ENGINE: Final = rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_17_5)


class LedgerDatabase(Construct):
    """A writer and readers in several zones, encrypted, backed up, TLS only.

    Services sign in as users of narrow rights, with IAM tokens. Only the owner has a password, which Aurora keeps in a
    secret of its own and changes every week. Functions connect through the proxy, which holds connections for them.
    """

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
        """Create the cluster, its proxy and their log groups."""
        super().__init__(scope, construct_id)
        self._key = key
        self._reader_count = config.database.reader_count
        # Aurora writes to a log group of a prescribed name; made here first, it has our key and retention.
        identifier = Names.unique_resource_name(self, max_length=50, separator="-").lower()
        log_group = ServiceLogs(
            self, "Logs", config=config, key=logs_key, name=f"/aws/rds/cluster/{identifier}/postgresql"
        )
        group = ec2.SecurityGroup(
            self,
            "Access",
            vpc=vpc,
            description="Ledger database: services that may sign in",
            allow_all_outbound=False,
        )
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PORT))
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            cluster_identifier=identifier,
            engine=ENGINE,
            parameters={"rds.force_ssl": "1", "log_min_duration_statement": "1000"},
            credentials=rds.Credentials.from_username("bursa", encryption_key=key),
            manage_master_user_password=True,
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
        self._proxy = self._create_proxy(config, vpc, logs_key)
        self._accept_findings()

    @property
    def owner_secret_arn(self) -> str:
        """ARN of the secret with username and password of the owner."""
        assert self.cluster.secret is not None
        return self.cluster.secret.secret_arn

    def url(self, user: str) -> str:
        """Address of the writer for `user`: for services, which keep their connections."""
        endpoint = self.cluster.cluster_endpoint
        return f"postgresql://{user}@{endpoint.hostname}:{Token.as_string(endpoint.port)}/{DATABASE_NAME}"

    def proxy_url(self, user: str) -> str:
        """Address of the proxy for `user`: for functions, which come and go."""
        return f"postgresql://{user}@{self._proxy.endpoint}:{PROXY_PORT}/{DATABASE_NAME}"

    def grant_sign_in(self, grantee: iam.IGrantable, user: str) -> None:
        """Let `grantee` sign in as `user`."""
        self.cluster.grant_connect(grantee, user)

    def let_read(self, function: EventFunction, user: str = READER) -> None:
        """Let `function` read by the proxy, as `user`: it may reach it and knows whose certificate to trust."""
        function.function.add_environment("PGSSLROOTCERT", PROXY_AUTHORITIES)
        function.connections.allow_to(self.proxy_connections, ec2.Port.tcp(PROXY_PORT), "reads the ledger")
        self._proxy.grant_connect(function.role, user)

    def let_own(self, function: EventFunction) -> None:
        """Let `function` sign in to the writer as the owner, who changes the schema, by the owner's secret."""
        function.function.add_environment("DATABASE_OWNER_SECRET_ARN", self.owner_secret_arn)
        function.function.add_environment("PGSSLROOTCERT", DATABASE_AUTHORITIES)
        function.connections.allow_to_default_port(self.connections, "changes the schema")
        iam.Grant.add_to_principal(
            grantee=function.role, actions=["secretsmanager:GetSecretValue"], resource_arns=[self.owner_secret_arn]
        )
        self._key.grant(function.role, "kms:Decrypt")

    def _create_proxy(self, config: Environment, vpc: ec2.IVpc, logs_key: kms.IKey) -> rds.DatabaseProxy:
        """Return a proxy that signs in as its client does: it knows no password."""
        name = f"{Names.unique_resource_name(self, max_length=50, separator='-').lower()}-proxy"
        log_group = ServiceLogs(self, "ProxyLogs", config=config, key=logs_key, name=f"/aws/rds/proxy/{name}")
        group = ec2.SecurityGroup(
            self,
            "ProxyAccess",
            vpc=vpc,
            description="Proxy of the ledger database: functions",
            allow_all_outbound=False,
        )
        role = ServiceRole(
            self, "ProxyRole", service="rds.amazonaws.com", description="Signs in to the database for functions"
        )
        for user in (READER, REGULATOR):
            self.cluster.grant_connect(role, user)
        # By its name: CDK would otherwise open the database to the proxy itself, on a port that no rule pack can read.
        target = rds.DatabaseCluster.from_database_cluster_attributes(
            self, "ProxyTarget", cluster_identifier=self.cluster.cluster_identifier, engine=ENGINE, port=PORT
        )
        proxy = rds.DatabaseProxy(
            self,
            "Proxy",
            db_proxy_name=name,
            proxy_target=rds.ProxyTarget.from_cluster(target),
            default_auth_scheme=rds.DefaultAuthScheme.IAM_AUTH,
            require_tls=True,
            role=role,
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=DATA),
            security_groups=[group],
            idle_client_timeout=Duration.minutes(10),
        )
        proxy.node.add_dependency(log_group, self.cluster)
        self.connections.allow_default_port_from(group, "the proxy, for functions")
        self.proxy_connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PROXY_PORT))
        return proxy

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
            expires=date(2027, 11, 20),
        )
        return role

    def _accept_findings(self) -> None:
        for name in ("Writer", *(f"Reader{number}" for number in range(1, self._reader_count + 1))):
            accept(
                self.cluster.node.find_child(name),
                *(f"{pack}-RDSInBackupPlan" for pack in (HIPAA, NIST)),
                reason="Aurora instances hold no data of their own: their cluster is backed up all the time",
                expires=date(2027, 6, 30),
            )
