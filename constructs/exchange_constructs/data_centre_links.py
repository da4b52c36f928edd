"""Leased lines and VPNs of banks and data centres: they meet at one gateway, which knows the DMZ and nothing else."""

from typing import Final

from aws_cdk import Names
from aws_cdk import aws_directconnect as directconnect
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from config.perimeter import DataCentre
from exchange_constructs.partner_dmz import PartnerDmz
from exchange_constructs.service_logs import ServiceLogs

TUNNELS: Final = 2
"""AWS ends every VPN in two places."""
CIPHER: Final = "AES256-GCM-16"
HASH: Final = "SHA2-384"
CURVE: Final = 20
"""Elliptic-curve Diffie-Hellman of 384 bits, by its number in the registry of IKE."""


class DataCentreLinks(Construct):
    """A transit gateway, the gateway of leased lines, and a VPN for each data centre.

    Partners never see each other: what they send is routed to the DMZ alone, and only the DMZ's answers are routed to
    them. A link carries nothing until its attachment is known to the configuration, because CloudFormation does not
    tell the id of an attachment that a VPN or a line makes.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, dmz: PartnerDmz, logs_key: kms.IKey
    ) -> None:
        """Create the gateways and a VPN for each of `config.partners.data_centres`."""
        super().__init__(scope, construct_id)
        partners = config.partners
        self.gateway = ec2.CfnTransitGateway(
            self,
            "Gateway",
            description=f"Data centres and banks of Bursa {config.name}",
            amazon_side_asn=partners.amazon_asn,
            auto_accept_shared_attachments="disable",
            default_route_table_association="disable",
            default_route_table_propagation="disable",
        )
        self._dmz = dmz.attach(self.gateway)
        self._from_partners = self._table("FromPartners")
        self._to_partners = self._table("ToPartners")
        ec2.CfnTransitGatewayRouteTableAssociation(
            self,
            "DmzAnswers",
            transit_gateway_attachment_id=self._dmz.ref,
            transit_gateway_route_table_id=self._to_partners.ref,
        )
        ec2.CfnTransitGatewayRoute(
            self,
            "IntoDmz",
            transit_gateway_route_table_id=self._from_partners.ref,
            destination_cidr_block=partners.dmz_cidr,
            transit_gateway_attachment_id=self._dmz.ref,
        )
        self._lease_lines(config)
        logs = ServiceLogs(self, "TunnelLogs", config=config, key=logs_key)
        for centre in partners.data_centres:
            self._connect(centre, partners.dmz_cidr, logs)
            self._admit(centre.name, centre.vpn_attachment)
        self._admit("Lines", partners.line_attachment)

    def _table(self, name: str) -> ec2.CfnTransitGatewayRouteTable:
        return ec2.CfnTransitGatewayRouteTable(self, name, transit_gateway_id=self.gateway.ref)

    def _lease_lines(self, config: Environment) -> None:
        lines = directconnect.CfnDirectConnectGateway(
            self,
            "Lines",
            direct_connect_gateway_name=Names.unique_resource_name(self, max_length=100, separator="-"),
            amazon_side_asn=str(config.partners.line_asn),
        )
        directconnect.CfnDirectConnectGatewayAssociation(
            self,
            "LinesToGateway",
            direct_connect_gateway_id=lines.attr_direct_connect_gateway_id,
            associated_gateway_id=self.gateway.ref,
            allowed_prefixes_to_direct_connect_gateway=[config.partners.dmz_cidr],
        )

    def _connect(self, centre: DataCentre, dmz_cidr: str, logs: ServiceLogs) -> None:
        """Create the VPN: only addresses of the partner and of the DMZ pass it, and its key is made by AWS."""
        theirs = ec2.CfnCustomerGateway(
            self, f"{centre.name}Gateway", type="ipsec.1", ip_address=centre.vpn_address, bgp_asn=centre.asn
        )
        ec2.CfnVPNConnection(
            self,
            f"{centre.name}Vpn",
            type="ipsec.1",
            customer_gateway_id=theirs.ref,
            transit_gateway_id=self.gateway.ref,
            local_ipv4_network_cidr=centre.cidr,
            remote_ipv4_network_cidr=dmz_cidr,
            pre_shared_key_storage="SecretsManager",
            vpn_tunnel_options_specifications=[_tunnel(logs) for _ in range(TUNNELS)],
        )

    def _admit(self, name: str, attachment_id: str | None) -> None:
        """Let what arrives by an attachment into the DMZ, and learn from it where answers go."""
        if attachment_id is None:
            return
        ec2.CfnTransitGatewayRouteTableAssociation(
            self,
            f"{name}Arrives",
            transit_gateway_attachment_id=attachment_id,
            transit_gateway_route_table_id=self._from_partners.ref,
        )
        ec2.CfnTransitGatewayRouteTablePropagation(
            self,
            f"{name}Answers",
            transit_gateway_attachment_id=attachment_id,
            transit_gateway_route_table_id=self._to_partners.ref,
        )


def _tunnel(logs: ServiceLogs) -> ec2.CfnVPNConnection.VpnTunnelOptionsSpecificationProperty:
    """Return a tunnel that speaks IKE 2 with modern ciphers only, and tells what it does."""
    vpn = ec2.CfnVPNConnection
    return vpn.VpnTunnelOptionsSpecificationProperty(
        ike_versions=[vpn.IKEVersionsRequestListValueProperty(value="ikev2")],
        log_options=vpn.VpnTunnelLogOptionsSpecificationProperty(
            cloudwatch_log_options=vpn.CloudwatchLogOptionsSpecificationProperty(
                log_enabled=True, log_group_arn=logs.log_group_arn, log_output_format="json"
            )
        ),
        phase1_encryption_algorithms=[vpn.Phase1EncryptionAlgorithmsRequestListValueProperty(value=CIPHER)],
        phase2_encryption_algorithms=[vpn.Phase2EncryptionAlgorithmsRequestListValueProperty(value=CIPHER)],
        phase1_integrity_algorithms=[vpn.Phase1IntegrityAlgorithmsRequestListValueProperty(value=HASH)],
        phase2_integrity_algorithms=[vpn.Phase2IntegrityAlgorithmsRequestListValueProperty(value=HASH)],
        phase1_dh_group_numbers=[vpn.Phase1DHGroupNumbersRequestListValueProperty(value=CURVE)],
        phase2_dh_group_numbers=[vpn.Phase2DHGroupNumbersRequestListValueProperty(value=CURVE)],
    )
