"""An OpenSearch domain, for support to search cases and logs. The records themselves stay in their buckets."""

from datetime import date
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_opensearchservice as opensearch
from constructs import Construct

from config.model import Environment
from exchange_constructs.account_role import AccountRole
from exchange_constructs.nag import accept
from exchange_constructs.private_network import DATA, PrivateNetwork
from exchange_constructs.service_logs import ServiceLogs

VERSION: Final = "OpenSearch_2.19"
MANAGERS: Final = 3
LOGS: Final = ("AUDIT_LOGS", "ES_APPLICATION_LOGS", "INDEX_SLOW_LOGS", "SEARCH_SLOW_LOGS")


class SearchDomain(Construct):
    """Three managers and data nodes in every zone, under our key, signed requests over TLS 1.2 only.

    `searcher` is the one role that administers and asks it; who takes that role is given it by an administrator.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        logs_key: kms.IKey,
        network: PrivateNetwork,
    ) -> None:
        """Create domain, logs, and the role that may ask."""
        super().__init__(scope, construct_id)
        stack, name, size = Stack.of(self), f"bursa-{config.name}", config.analytics.search
        arn = stack.format_arn(service="es", resource="domain", resource_name=name)
        self.searcher = AccountRole(self, "Searcher", description="Asks the search domain")
        groups = {each: ServiceLogs(self, each.title().replace("_", ""), config=config, key=logs_key) for each in LOGS}
        writes = self._let_write(groups, arn)
        access = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="Search: from inside only", allow_all_outbound=False
        )
        access.add_ingress_rule(network.inside, ec2.Port.tcp(443), "questions, from inside the network")
        subnets = network.vpc.select_subnets(subnet_group_name=DATA).subnet_ids
        domain = opensearch.CfnDomain(
            self,
            "Domain",
            domain_name=name,
            engine_version=VERSION,
            cluster_config=opensearch.CfnDomain.ClusterConfigProperty(
                instance_type=size.host,
                instance_count=size.nodes_per_zone * len(subnets),
                dedicated_master_enabled=True,
                dedicated_master_type=size.host,
                dedicated_master_count=MANAGERS,
                zone_awareness_enabled=True,
                zone_awareness_config=opensearch.CfnDomain.ZoneAwarenessConfigProperty(
                    availability_zone_count=len(subnets)
                ),
            ),
            ebs_options=opensearch.CfnDomain.EBSOptionsProperty(
                ebs_enabled=True, volume_type="gp3", volume_size=size.volume_gib
            ),
            vpc_options=opensearch.CfnDomain.VPCOptionsProperty(
                subnet_ids=subnets, security_group_ids=[access.security_group_id]
            ),
            encryption_at_rest_options=opensearch.CfnDomain.EncryptionAtRestOptionsProperty(
                enabled=True, kms_key_id=key.key_arn
            ),
            node_to_node_encryption_options=opensearch.CfnDomain.NodeToNodeEncryptionOptionsProperty(enabled=True),
            domain_endpoint_options=opensearch.CfnDomain.DomainEndpointOptionsProperty(
                enforce_https=True, tls_security_policy="Policy-Min-TLS-1-2-PFS-2023-10"
            ),
            advanced_security_options=opensearch.CfnDomain.AdvancedSecurityOptionsInputProperty(
                enabled=True,
                internal_user_database_enabled=False,
                master_user_options=opensearch.CfnDomain.MasterUserOptionsProperty(
                    master_user_arn=self.searcher.role_arn
                ),
            ),
            access_policies=iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        actions=["es:ESHttpGet", "es:ESHttpHead", "es:ESHttpPost", "es:ESHttpPut", "es:ESHttpDelete"],
                        principals=[iam.ArnPrincipal(self.searcher.role_arn)],
                        resources=[f"{arn}/*"],
                    )
                ]
            ),
            log_publishing_options={
                each: opensearch.CfnDomain.LogPublishingOptionProperty(
                    enabled=True, cloud_watch_logs_log_group_arn=group.log_group_arn
                )
                for each, group in groups.items()
            },
        )
        domain.node.add_dependency(writes)
        accept(
            domain,
            "AwsSolutions-OS3",
            reason="A domain in a network takes no addresses in its policy: its security group and one role do that",
            expires=date(2027, 11, 20),
            owner="security",
        )

    def _let_write(self, groups: dict[str, ServiceLogs], arn: str) -> logs.CfnResourcePolicy:
        stack = Stack.of(self)
        document = iam.PolicyDocument(
            statements=[
                iam.PolicyStatement(
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    principals=[iam.ServicePrincipal("es.amazonaws.com")],
                    resources=[group.log_group_arn for group in groups.values()],
                    conditions={
                        "StringEquals": {"aws:SourceAccount": stack.account},
                        "ArnLike": {"aws:SourceArn": arn},
                    },
                )
            ]
        )
        return logs.CfnResourcePolicy(
            self, "Writes", policy_name=f"{stack.stack_name}-search", policy_document=stack.to_json_string(document)
        )
