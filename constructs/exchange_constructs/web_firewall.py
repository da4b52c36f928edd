"""The web firewalls, at the edge and in front of REST: known attacks never reach a process."""

from typing import Final

from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from config.model import Environment

MANAGED_RULES: Final = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet")
BAD_ADDRESSES: Final = "AWSManagedRulesAmazonIpReputationList"
ONLY_COUNTED: Final = {"AWSManagedRulesCommonRuleSet": ("NoUserAgent_HEADER",)}
"""Rules that would refuse honest clients: trading programs often name no user agent."""


class WebFirewall(Construct):
    """Managed rules, every judgement logged where that of the edge is, and from there in the locked archive.

    Addresses are not judged here: behind CloudFront each request comes from inside the network. Rates and reputation of
    an address belong to CloudFront's own web ACL, limits of an API key to the gateway.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        protects: elb.IApplicationLoadBalancer,
        logs: s3.IBucket,
    ) -> None:
        """Create the web ACL, recorded in `logs`, and put it in front of `protects`."""
        super().__init__(scope, construct_id)
        acl = waf.CfnWebACL(
            self,
            "Acl",
            scope="REGIONAL",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visible("Rest"),
            rules=[_managed(priority, name) for priority, name in enumerate(MANAGED_RULES)],
        )
        waf.CfnWebACLAssociation(self, "Association", resource_arn=protects.load_balancer_arn, web_acl_arn=acl.attr_arn)
        waf.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=acl.attr_arn,
            log_destination_configs=[logs.bucket_arn],
            redacted_fields=_secret_fields(),
        )


class EdgeFirewall(Construct):
    """What CloudFront asks about every request: its country, its address, how often it came, what it carries."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, logs: s3.IBucket) -> None:
        """Create the web ACL, whose refusals are recorded in `logs`; CloudFront takes it by its ARN."""
        super().__init__(scope, construct_id)
        edge = config.edge
        self.acl = waf.CfnWebACL(
            self,
            "Acl",
            scope="CLOUDFRONT",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visible("Edge"),
            rules=[
                _blocking(
                    0,
                    "DeniedCountries",
                    waf.CfnWebACL.StatementProperty(
                        geo_match_statement=waf.CfnWebACL.GeoMatchStatementProperty(
                            country_codes=list(edge.denied_countries)
                        )
                    ),
                ),
                _blocking(
                    1,
                    "TooManyRequests",
                    waf.CfnWebACL.StatementProperty(
                        rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                            aggregate_key_type="IP", limit=edge.requests_per_address, evaluation_window_sec=300
                        )
                    ),
                    status=429,
                ),
                *(_managed(2 + at, name) for at, name in enumerate((BAD_ADDRESSES, *MANAGED_RULES))),
            ],
        )
        waf.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=self.acl.attr_arn,
            log_destination_configs=[logs.bucket_arn],
            redacted_fields=_secret_fields(),
        )


def _secret_fields() -> list[waf.CfnLoggingConfiguration.FieldToMatchProperty]:
    """Return what a log must not keep: API keys, and the query, which holds signatures."""
    return [
        waf.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": "x-mbx-apikey"}),
        waf.CfnLoggingConfiguration.FieldToMatchProperty(query_string={}),
    ]


def _blocking(
    priority: int, name: str, statement: waf.CfnWebACL.StatementProperty, status: int = 403
) -> waf.CfnWebACL.RuleProperty:
    return waf.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        action=waf.CfnWebACL.RuleActionProperty(
            block=waf.CfnWebACL.BlockActionProperty(
                custom_response=waf.CfnWebACL.CustomResponseProperty(response_code=status)
            )
        ),
        statement=statement,
        visibility_config=_visible(name),
    )


def _visible(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )


def _managed(priority: int, name: str) -> waf.CfnWebACL.RuleProperty:
    return waf.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        statement=waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                name=name,
                vendor_name="AWS",
                rule_action_overrides=[
                    waf.CfnWebACL.RuleActionOverrideProperty(
                        name=rule, action_to_use=waf.CfnWebACL.RuleActionProperty(count={})
                    )
                    for rule in ONLY_COUNTED.get(name, ())
                ],
            )
        ),
        visibility_config=_visible(name),
    )
