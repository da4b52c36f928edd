"""The one way out: from the egress tier, through a firewall that knows a few host names, from fixed addresses."""

from collections.abc import Iterator

from aws_cdk import CfnOutput
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.inspection import InspectionPolicy, ZoneFirewall
from exchange_constructs.public_tier import PublicTier
from exchange_constructs.tiers import EGRESS, INSPECTION, PUBLIC


class FixedEgress(Construct):
    """In each of its zones: egress subnet → firewall → NAT gateway with an address that does not change.

    A service goes this way when it is created in the tier EGRESS; providers know it by `addresses`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        public: PublicTier,
        logs_key: kms.IKey,
    ) -> None:
        """Create firewall, NAT gateway and routes, both ways, in the first `config.egress.zone_count` zones."""
        super().__init__(scope, construct_id)
        self.addresses: list[str] = []
        policy = InspectionPolicy(self, "Inspection", rules=list(_rules(config.hosts_outside)))
        for number, zone in enumerate(vpc.availability_zones[: config.egress.zone_count], start=1):
            egress, inspection, outside = (_subnet(vpc, tier, zone) for tier in (EGRESS, INSPECTION, PUBLIC))
            firewall = ZoneFirewall(
                self, f"Zone{number}", config=config, vpc=vpc, subnet=inspection, policy=policy, logs_key=logs_key
            )
            nat, address = public.add_nat(f"Nat{number}", outside)
            ways = {
                "Out": (egress.route_table.route_table_id, "0.0.0.0/0", {"vpc_endpoint_id": firewall.endpoint_id}),
                "Onward": (inspection.route_table.route_table_id, "0.0.0.0/0", {"nat_gateway_id": nat.ref}),
                # Answers pass the same firewall, or it would never see a whole connection.
                "Back": (public.route_table_id, egress.ipv4_cidr_block, {"vpc_endpoint_id": firewall.endpoint_id}),
            }
            for name, (table, destination, target) in ways.items():
                ec2.CfnRoute(
                    self, f"{name}{number}", route_table_id=table, destination_cidr_block=destination, **target
                )
            self.addresses.append(address.attr_public_ip)
            CfnOutput(self, f"FixedAddress{number}", value=address.attr_public_ip)


def _subnet(vpc: ec2.IVpc, tier: str, zone: str) -> ec2.ISubnet:
    (found,) = vpc.select_subnets(subnet_group_name=tier, availability_zones=[zone]).subnets
    return found


def _rules(domains: tuple[str, ...]) -> Iterator[str]:
    """Yield a rule for each host that may be reached by TLS, and one that lets the handshake get that far."""
    for number, domain in enumerate(domains, start=1):
        yield (
            f'pass tls $HOME_NET any -> $EXTERNAL_NET 443 (ssl_state:client_hello; tls.sni; content:"{domain}"; '
            f"startswith; endswith; nocase; flow:to_server; sid:{number}; rev:1;)"
        )
    yield ("pass tcp $HOME_NET any -> $EXTERNAL_NET 443 (flow:not_established, to_server; sid:1000; rev:1;)")
