"""The web firewalls, at the edge, before REST and before sign-in: what they refuse never reaches a process."""

from typing import Final

from aws_cdk import aws_s3 as s3
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from config.model import Environment

MANAGED_RULES: Final = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet")
BAD_ADDRESSES: Final = "AWSManagedRulesAmazonIpReputationList"
"""Knows a request by its sender alone, so it is of no use where CloudFront is the sender."""
ONLY_COUNTED: Final = {"AWSManagedRulesCommonRuleSet": ("NoUserAgent_HEADER",)}
"""Rules that would refuse honest clients: trading programs often name no user agent."""
VIEWER_ADDRESS: Final = "x-viewer-address"
"""Header in which CloudFront hands on the client's address, whatever the client wrote there.

`X-Forwarded-For` begins with what the client wrote, and the firewall reads its beginning; `CloudFront-Viewer-Address`
has a port, which the firewall does not take for an address.
"""


class WebFirewall(Construct):
    """What is asked about every request: its country, its address, how often it came, what it carries.

    Every judgement is logged, and from there copied into the locked archive.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        name: str,
        requests_per_address: int,
        logs: s3.IBucket,
        kind: str = "REGIONAL",
        address_in: str | None = None,
    ) -> None:
        """Create the web ACL, recorded in `logs`, with metrics under `name`; CloudFront takes one of its own `kind`.

        An address may send `requests_per_address` in five minutes. It is that of the sender, or what the header
        `address_in` says.
        """
        super().__init__(scope, construct_id)
        self.acl = waf.CfnWebACL(
            self,
            "Acl",
            scope=kind,
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visible(name),
            rules=[
                _blocking(0, "DeniedCountries", _from_countries(config.edge.denied_countries, address_in)),
                _blocking(1, "TooManyRequests", _more_than(requests_per_address, address_in), status=429),
                *(
                    _managed(2 + at, group)
                    for at, group in enumerate((*(() if address_in else (BAD_ADDRESSES,)), *MANAGED_RULES))
                ),
            ],
        )
        waf.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=self.acl.attr_arn,
            log_destination_configs=[logs.bucket_arn],
            redacted_fields=_secret_fields(),
        )

    def stand_before(self, resource_arn: str) -> None:
        """Judge every request to a load balancer or a user pool of the same region."""
        waf.CfnWebACLAssociation(self, "Association", resource_arn=resource_arn, web_acl_arn=self.acl.attr_arn)


def _from_countries(denied: tuple[str, ...], address_in: str | None) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(
        geo_match_statement=waf.CfnWebACL.GeoMatchStatementProperty(
            country_codes=list(denied),
            forwarded_ip_config=_address(address_in),
        )
    )


def _more_than(requests: int, address_in: str | None) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(
        rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
            aggregate_key_type="FORWARDED_IP" if address_in else "IP",
            limit=requests,
            evaluation_window_sec=300,
            forwarded_ip_config=_address(address_in),
        )
    )


def _address(header: str | None) -> waf.CfnWebACL.ForwardedIPConfigurationProperty | None:
    """Where a rule finds the client's address; what is there and is none is refused."""
    if header is None:
        return None
    return waf.CfnWebACL.ForwardedIPConfigurationProperty(header_name=header, fallback_behavior="MATCH")


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
