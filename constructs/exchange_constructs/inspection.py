"""A network firewall that lets TLS through to named hosts and drops all else, with a record of both."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Fn, Names
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_networkfirewall as firewall
from constructs import Construct

from config.model import Environment
from exchange_constructs.service_logs import ServiceLogs

RULES_MAX: Final = 200
"""Capacity that AWS reserves for a rule group; it cannot be changed later."""
STRICT: Final = ["aws:drop_strict", "aws:alert_strict"]
"""What no rule passes is dropped, from the first packet on."""


class InspectionPolicy(Construct):
    """Rules of one kind of traffic, shared by firewalls of several zones."""

    def __init__(self, scope: Construct, construct_id: str, *, rules: Sequence[str]) -> None:
        """Pass what `rules`, in the language of Suricata, pass, in their order."""
        super().__init__(scope, construct_id)
        name = Names.unique_resource_name(self, max_length=100, separator="-")
        group = firewall.CfnRuleGroup(
            self,
            "Rules",
            rule_group_name=name,
            type="STATEFUL",
            capacity=RULES_MAX,
            rule_group=firewall.CfnRuleGroup.RuleGroupProperty(
                rules_source=firewall.CfnRuleGroup.RulesSourceProperty(rules_string="\n".join(rules)),
                stateful_rule_options=firewall.CfnRuleGroup.StatefulRuleOptionsProperty(rule_order="STRICT_ORDER"),
            ),
        )
        self.policy = firewall.CfnFirewallPolicy(
            self,
            "Policy",
            firewall_policy_name=name,
            firewall_policy=firewall.CfnFirewallPolicy.FirewallPolicyProperty(
                stateless_default_actions=["aws:forward_to_sfe"],
                stateless_fragment_default_actions=["aws:drop"],
                stateful_default_actions=STRICT,
                stateful_engine_options=firewall.CfnFirewallPolicy.StatefulEngineOptionsProperty(
                    rule_order="STRICT_ORDER", stream_exception_policy="DROP"
                ),
                stateful_rule_group_references=[
                    firewall.CfnFirewallPolicy.StatefulRuleGroupReferenceProperty(
                        resource_arn=group.attr_rule_group_arn, priority=1
                    )
                ],
            ),
        )


class ZoneFirewall(Construct):
    """The firewall of one zone. One for each, as AWS does not promise in which order one firewall names its zones."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        subnet: ec2.ISubnet,
        policy: InspectionPolicy,
        logs_key: kms.IKey,
    ) -> None:
        """Create the firewall in `subnet`, and keep its alerts and flows."""
        super().__init__(scope, construct_id)
        it = firewall.CfnFirewall(
            self,
            "Firewall",
            firewall_name=Names.unique_resource_name(self, max_length=100, separator="-"),
            firewall_policy_arn=policy.policy.attr_firewall_policy_arn,
            vpc_id=vpc.vpc_id,
            subnet_mappings=[firewall.CfnFirewall.SubnetMappingProperty(subnet_id=subnet.subnet_id)],
            delete_protection=config.retained,
            firewall_policy_change_protection=False,
            subnet_change_protection=config.retained,
        )
        logs = ServiceLogs(self, "Logs", config=config, key=logs_key)
        firewall.CfnLoggingConfiguration(
            self,
            "Logging",
            firewall_arn=it.attr_firewall_arn,
            logging_configuration=firewall.CfnLoggingConfiguration.LoggingConfigurationProperty(
                log_destination_configs=[
                    firewall.CfnLoggingConfiguration.LogDestinationConfigProperty(
                        log_type=kind,
                        log_destination_type="CloudWatchLogs",
                        log_destination={"logGroup": logs.log_group_name},
                    )
                    for kind in ("ALERT", "FLOW")
                ]
            ),
        )
        self.endpoint_id = Fn.select(1, Fn.split(":", Fn.select(0, it.attr_endpoint_ids)))
        """Where routes send traffic to be inspected."""
