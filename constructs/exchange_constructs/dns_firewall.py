"""Which names resolve inside a network: those of AWS, and what it is given. All others do not, and are recorded."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Names, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_route53resolver as resolver
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import audit_bucket_name
from exchange_constructs.process import NAMESPACE
from exchange_constructs.service_logs import ServiceLogs

ALLOW_FIRST: Final = 100
BLOCK_REST: Final = 200


class DnsFirewall(Construct):
    """A program that was taken over can neither look its master up nor talk to it in questions to a name server."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        logs_key: kms.IKey,
        names: Sequence[str] = (),
    ) -> None:
        """Create both lists and their rules for AWS and `names`, and keep every question with the answer it got.

        All of it is made in the account of `vpc`: a group of rules serves a network of another account only if shared.
        A log group is for operators; the archive of the audit account, which must be there before, is for proof.
        """
        super().__init__(scope, construct_id)
        rules = resolver.CfnFirewallRuleGroup(
            self,
            "Rules",
            firewall_rules=[
                resolver.CfnFirewallRuleGroup.FirewallRuleProperty(
                    firewall_domain_list_id=self._list("Allowed", [*_of_aws(config.region), *names]),
                    priority=ALLOW_FIRST,
                    action="ALLOW",
                    # A name on the list may lead on to another, as price sources do to their content network.
                    firewall_domain_redirection_action="TRUST_REDIRECTION_DOMAIN",
                ),
                resolver.CfnFirewallRuleGroup.FirewallRuleProperty(
                    firewall_domain_list_id=self._list("All", ["*"]),
                    priority=BLOCK_REST,
                    action="BLOCK",
                    block_response="NXDOMAIN",
                ),
            ],
        )
        resolver.CfnFirewallRuleGroupAssociation(
            self,
            "Use",
            firewall_rule_group_id=rules.attr_id,
            vpc_id=vpc.vpc_id,
            priority=101,
            mutation_protection="ENABLED" if config.retained else "DISABLED",
        )
        logs = ServiceLogs(self, "Queries", config=config, key=logs_key)
        archive = f"arn:{Stack.of(self).partition}:s3:::{audit_bucket_name(config)}"
        for prefix, destination in (("", logs.log_group_arn), ("Locked", archive)):
            logging = resolver.CfnResolverQueryLoggingConfig(self, f"{prefix}Logging", destination_arn=destination)
            resolver.CfnResolverQueryLoggingConfigAssociation(
                self, f"{prefix}Logged", resolver_query_log_config_id=logging.attr_id, resource_id=vpc.vpc_id
            )

    def _list(self, name: str, domains: Sequence[str]) -> str:
        domain_list = resolver.CfnFirewallDomainList(
            self, name, name=Names.unique_resource_name(self, max_length=50) + name, domains=list(domains)
        )
        return domain_list.attr_id


def names_of_exchange(config: Environment) -> list[str]:
    """Return what the exchange's own network asks for beside AWS: ourselves, and what may be reached outside."""
    return [f"*.{NAMESPACE}", f"*.{config.domain}", config.domain, *config.hosts_outside]


def _of_aws(region: str) -> list[str]:
    return [
        f"*.{region}.amazonaws.com",
        f"*.{region}.api.aws",
        f"*.{region}.compute.internal",
        f"*.{region}.rds.amazonaws.com",
        "*.cache.amazonaws.com",  # ElastiCache names its regions in another way
    ]
