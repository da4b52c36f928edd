"""DMS Serverless: copies the predecessor's database, then carries over what changes, until the cut-over."""

from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_dms as dms
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.ledger_database import PORT, LedgerDatabase
from exchange_constructs.private_network import PrivateNetwork

EVERY_TABLE: Final = {
    "rules": [
        {
            "rule-type": "selection",
            "rule-id": "1",
            "rule-name": "every-table",
            "object-locator": {"schema-name": "%", "table-name": "%"},
            "rule-action": "include",
        },
        {
            "rule-type": "transformation",
            "rule-id": "2",
            "rule-name": "into-staging",
            "rule-target": "schema",
            "object-locator": {"schema-name": "%"},
            "rule-action": "rename",
            "value": "predecessor",
        },
    ]
}
"""Everything lands in a schema that the ledger's migrations make for it, never in the ledger's own."""


class DatabaseCopy(Construct):
    """One replication between two endpoints.

    CloudFormation has no type for endpoints and subnet groups of DMS in Jakarta, so an operator makes the three with
    the CLI, under the names below, and the replication finds them by name.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        network: PrivateNetwork,
        database: LedgerDatabase,
        key: kms.IKey,
    ) -> None:
        """Create the replication, which may reach `database`; it is started by hand."""
        super().__init__(scope, construct_id)
        stack, name = Stack.of(self), f"bursa-{config.name}"
        group = ec2.SecurityGroup(
            self,
            "Access",
            vpc=network.vpc,
            description="Replication from the database of the predecessor",
            allow_all_outbound=False,
        )
        block = ec2.Peer.ipv4(config.network.cidr)
        group.add_egress_rule(block, ec2.Port.tcp(PORT), "both databases, by our own network")
        group.add_egress_rule(block, ec2.Port.tcp(443), "endpoints of AWS: secrets")
        endpoint = f"arn:{stack.partition}:dms:{config.region}:{config.account}:endpoint:{name}"
        (ours,) = database.connections.security_groups
        ec2.CfnSecurityGroupIngress(
            self,
            "IntoDatabase",
            group_id=ours.security_group_id,
            source_security_group_id=group.security_group_id,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            description="copies the predecessor's database",
        )
        dms.CfnReplicationConfig(
            self,
            "Replication",
            replication_config_identifier=f"{name}-predecessor",
            replication_type="full-load-and-cdc",
            source_endpoint_arn=f"{endpoint}-source",
            target_endpoint_arn=f"{endpoint}-target",
            table_mappings=EVERY_TABLE,
            compute_config=dms.CfnReplicationConfig.ComputeConfigProperty(
                max_capacity_units=config.migration.copy_units_max,
                min_capacity_units=1,
                multi_az=False,
                kms_key_id=key.key_arn,
                replication_subnet_group_id=f"{name}-copy",
                vpc_security_group_ids=[group.security_group_id],
            ),
        )
