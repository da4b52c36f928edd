"""The network between data centres and ours: whatever comes by line or VPN is inspected here, or goes no further."""

from collections.abc import Iterator, Sequence
from typing import Final

from aws_cdk import CfnOutput
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from config.perimeter import DataCentre
from exchange_constructs.inspection import InspectionPolicy, ZoneFirewall
from exchange_constructs.network_guard import guard
from exchange_constructs.partner_access import DOORS, ORDERS, PartnerFront
from exchange_constructs.tiers import ATTACHMENT, ENTRANCE, INSPECTION

HANDSHAKE: Final = 1000
"""First number of the rules that let a handshake get as far as its name; fewer partners than this fit before it."""


class PartnerDmz(Construct):
    """Three tiers in every zone: the transit gateway arrives, a firewall inspects, and an entrance leads on.

    The entrance is an endpoint of the same service that market makers use, so no route joins this network with the
    exchange's: a partner reaches three ports of one balancer, and the exchange cannot call a partner at all.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        front: PartnerFront,
        logs_key: kms.IKey,
    ) -> None:
        """Create network, firewalls and entrance for `config.partners.data_centres`."""
        super().__init__(scope, construct_id)
        self._config = config
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(config.partners.dmz_cidr),
            max_azs=config.network.az_count,
            nat_gateways=0,
            create_internet_gateway=False,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name=name, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=mask)
                for name, mask in ((ENTRANCE, 27), (ATTACHMENT, 28), (INSPECTION, 28))
            ],
        )
        guard(self, config=config, vpc=self.vpc, logs_key=logs_key)
        self._open_entrance(front)
        policy = InspectionPolicy(
            self, "Policy", rules=list(_rules(config.partners.data_centres, front.host_name, config.partners.dmz_cidr))
        )
        self._inspected = [
            (
                entrance,
                inspection,
                ZoneFirewall(
                    self,
                    f"Zone{number}",
                    config=config,
                    vpc=self.vpc,
                    subnet=inspection,
                    policy=policy,
                    logs_key=logs_key,
                ),
            )
            for number, (entrance, inspection) in enumerate(
                zip(self._tier(ENTRANCE), self._tier(INSPECTION), strict=True), start=1
            )
        ]

    def attach(self, gateway: ec2.CfnTransitGateway) -> ec2.CfnTransitGatewayVpcAttachment:
        """Join `gateway`, and route through the firewalls both ways.

        Each entrance is reached through the firewall of its own zone, wherever a packet arrives, and answers through
        the same one: a firewall that sees half a connection drops it.
        """
        arrivals = self._tier(ATTACHMENT)
        attachment = ec2.CfnTransitGatewayVpcAttachment(
            self,
            "Attachment",
            transit_gateway_id=gateway.ref,
            vpc_id=self.vpc.vpc_id,
            subnet_ids=[subnet.subnet_id for subnet in arrivals],
        )
        for zone, (entrance, inspection, firewall) in enumerate(self._inspected, start=1):
            for number, arrival in enumerate(arrivals, start=1):
                _route(self, f"In{zone}From{number}", arrival, entrance.ipv4_cidr_block, firewall.endpoint_id)
            for centre in self._config.partners.data_centres:
                _route(self, f"{centre.name}Back{zone}", entrance, centre.cidr, firewall.endpoint_id)
                ec2.CfnRoute(
                    self,
                    f"{centre.name}Onward{zone}",
                    route_table_id=inspection.route_table.route_table_id,
                    destination_cidr_block=centre.cidr,
                    transit_gateway_id=gateway.ref,
                ).add_resource_dependency(attachment)
        return attachment

    def _tier(self, name: str) -> Sequence[ec2.ISubnet]:
        return self.vpc.select_subnets(subnet_group_name=name).subnets

    def _open_entrance(self, front: PartnerFront) -> None:
        group = ec2.SecurityGroup(
            self, "EntranceAccess", vpc=self.vpc, description="Entrance of data centres", allow_all_outbound=False
        )
        for centre in self._config.partners.data_centres:
            for port in DOORS:
                group.add_ingress_rule(ec2.Peer.ipv4(centre.cidr), ec2.Port.tcp(port), f"Data centre of {centre.name}")
        endpoint = self.vpc.add_interface_endpoint(
            "Entrance",
            service=ec2.InterfaceVpcEndpointService(front.service.vpc_endpoint_service_name, ORDERS),
            subnets=ec2.SubnetSelection(subnet_group_name=ENTRANCE),
            security_groups=[group],
            private_dns_enabled=False,
            open=False,
        )
        CfnOutput(self, "EntranceId", value=endpoint.vpc_endpoint_id)


def _route(scope: Construct, name: str, subnet: ec2.ISubnet, destination: str, firewall_endpoint_id: str) -> None:
    ec2.CfnRoute(
        scope,
        name,
        route_table_id=subnet.route_table.route_table_id,
        destination_cidr_block=destination,
        vpc_endpoint_id=firewall_endpoint_id,
    )


def _rules(centres: tuple[DataCentre, ...], host: str, dmz: str) -> Iterator[str]:
    """Yield, for each partner and port, a rule for TLS to our own name and one for the handshake before it."""
    number = 0
    for centre in centres:
        for port in DOORS:
            number += 1
            yield (
                f'pass tls {centre.cidr} any -> {dmz} {port} (ssl_state:client_hello; tls.sni; content:"{host}"; '
                f"startswith; endswith; nocase; flow:to_server; sid:{number}; rev:1;)"
            )
            yield (
                f"pass tcp {centre.cidr} any -> {dmz} {port} "
                f"(flow:not_established, to_server; sid:{HANDSHAKE + number}; rev:1;)"
            )
