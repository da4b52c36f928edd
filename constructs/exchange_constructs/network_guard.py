"""What networks beside the exchange's own share: flows are recorded, few names resolve, findings none can avoid."""

from collections.abc import Sequence
from datetime import date

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.dns_firewall import DnsFirewall
from exchange_constructs.flow_records import FlowRecords
from exchange_constructs.nag import HIPAA, NIST, PCI, accept


def guard(
    network: Construct, *, config: Environment, vpc: ec2.Vpc, logs_key: kms.IKey, names: Sequence[str] = ()
) -> None:
    """Record what happens in `vpc`, the network of `network`, and let no names but `names` and AWS's resolve there."""
    FlowRecords(network, "Flows", config=config, vpc=vpc, logs_key=logs_key)
    DnsFirewall(network, "DnsFirewall", config=config, vpc=vpc, logs_key=logs_key, names=names)
    accept(
        vpc,
        *(f"{pack}-VPCDefaultSecurityGroupClosed" for pack in (HIPAA, NIST, PCI)),
        reason="CloudFormation cannot empty the default group; nothing uses it, as every interface names its own",
        expires=date(2027, 11, 20),
        owner="security",
    )
    accept(
        vpc,
        "CloudFormation-Validate::W3010",
        reason="Zones are written out so that synth asks no account; the region they belong to is fixed by config",
        expires=date(2027, 11, 20),
    )
