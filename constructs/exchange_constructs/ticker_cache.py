"""The cache: Valkey for the counts of limits that gateways share, which can be lost."""

from typing import Final

from aws_cdk import Names
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.private_network import DATA

PORT: Final = 6379
ENGINE: Final = "valkey"
KEYS: Final = "limits:*"
"""What gateways keep here: counts, see `runtime/gateway/limit_sharing.py`."""
COMMANDS: Final = ("incrby", "expire")
"""What gateways send once they are signed in; signing in itself, HELLO and AUTH, is allowed to everybody."""
ACCESS: Final = " ".join(("on", f"~{KEYS}", "resetchannels", "-@all", *(f"+{command}" for command in COMMANDS)))
"""Rights of the gateways' user, as Valkey's ACL SETUSER takes them: these keys, no channel, these commands."""


class TickerCache(Construct):
    """Valkey without servers: spread over the zones, TLS only, under our key, open to the gateways alone.

    Their one user has no password: a gateway signs in with a token that its role signs.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, vpc: ec2.IVpc, key: kms.IKey
    ) -> None:
        """Create the cache; AWS demands a name for it."""
        super().__init__(scope, construct_id)
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="Ticker cache: gateways only", allow_all_outbound=False
        )
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PORT))
        self.name = Names.unique_resource_name(self, max_length=40, separator="-").lower()
        # ElastiCache demands that a user who signs in by IAM has one value as id and as name.
        user_name = f"{Names.unique_resource_name(self, max_length=30, separator='-').lower()}-gateways"
        self._user = elasticache.CfnUser(
            self,
            "Gateways",
            engine=ENGINE,
            user_id=user_name,
            user_name=user_name,
            access_string=ACCESS,
            authentication_mode={"Type": "iam"},  # CDK takes it for plain JSON, and would write its own class as `type`
        )
        users = elasticache.CfnUserGroup(
            self, "Users", engine=ENGINE, user_group_id=f"{user_name}-only", user_ids=[self._user.ref]
        )
        self._cache = elasticache.CfnServerlessCache(
            self,
            "Cache",
            engine=ENGINE,
            major_engine_version="8",
            serverless_cache_name=self.name,
            user_group_id=users.ref,
            description=f"{config.name}: counts of limits",
            kms_key_id=key.key_arn,
            security_group_ids=[group.security_group_id],
            subnet_ids=vpc.select_subnets(subnet_group_name=DATA).subnet_ids,
        )

    @property
    def url(self) -> str:
        """Address with scheme and user, as clients take it."""
        return f"rediss://{self._user.user_name}@{self._cache.attr_endpoint_address}:{self._cache.attr_endpoint_port}"

    def grant_sign_in(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` sign in as the gateways' user."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["elasticache:Connect"],
            resource_arns=[self._cache.attr_arn, self._user.attr_arn],
        )
