"""The cache: Valkey for what can be lost, such as tickers, depth snapshots and rate limits."""

from typing import Final

from aws_cdk import Names
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.private_network import DATA

PORT: Final = 6379


class TickerCache(Construct):
    """Valkey without servers: spread over the zones, TLS only, under our key, open to the gateways' groups alone."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, vpc: ec2.IVpc, key: kms.IKey
    ) -> None:
        """Create the cache; AWS demands a name for it."""
        super().__init__(scope, construct_id)
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="Ticker cache: gateways only", allow_all_outbound=False
        )
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PORT))
        self._cache = elasticache.CfnServerlessCache(
            self,
            "Cache",
            engine="valkey",
            major_engine_version="8",
            serverless_cache_name=Names.unique_resource_name(self, max_length=40, separator="-").lower(),
            description=f"{config.name}: tickers, depth snapshots, rate limits",
            kms_key_id=key.key_arn,
            security_group_ids=[group.security_group_id],
            subnet_ids=vpc.select_subnets(subnet_group_name=DATA).subnet_ids,
        )

    @property
    def url(self) -> str:
        """Address with scheme, as clients take it."""
        return f"rediss://{self._cache.attr_endpoint_address}:{self._cache.attr_endpoint_port}"
