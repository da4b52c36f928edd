"""The public subnets of a network: one route table for all of them, with the one route to the internet."""

from datetime import date
from typing import cast

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from exchange_constructs.nag import HIPAA, NIST, PCI, accept


class PublicTier(Construct):
    """The network's door to the internet: gateway, route, and NAT gateways for those who ask.

    The network is made with `create_internet_gateway=False`: else CDK gives each public subnet a table and a route of
    its own, all alike, and each of them would have to be reviewed.
    """

    def __init__(self, scope: Construct, construct_id: str, *, vpc: ec2.Vpc, holds: str) -> None:
        """Open the public subnets of `vpc`; `holds` says what stands in them, for whoever reviews the route."""
        super().__init__(scope, construct_id)
        gateway = ec2.CfnInternetGateway(self, "Gateway")
        attachment = ec2.CfnVPCGatewayAttachment(
            self, "Attachment", vpc_id=vpc.vpc_id, internet_gateway_id=gateway.attr_internet_gateway_id
        )
        first, *others = vpc.public_subnets
        self.route_table_id = first.route_table.route_table_id
        for subnet in others:
            association = subnet.node.find_child("RouteTableAssociation")
            cast(ec2.CfnSubnetRouteTableAssociation, association).route_table_id = self.route_table_id
            subnet.node.try_remove_child("RouteTable")
        self._route = ec2.CfnRoute(
            self,
            "Out",
            route_table_id=self.route_table_id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.attr_internet_gateway_id,
        )
        self._route.add_resource_dependency(attachment)
        accept(
            self._route,
            *(f"{pack}-VPCNoUnrestrictedRouteToIGW" for pack in (HIPAA, NIST, PCI)),
            reason=f"Public subnets hold nothing but {holds}",
            expires=date(2027, 11, 20),
            owner="security",
        )

    def add_nat(self, construct_id: str, subnet: ec2.ISubnet) -> tuple[ec2.CfnNatGateway, ec2.CfnEIP]:
        """Return a NAT gateway in `subnet`, one of the public ones, and its address, which does not change."""
        address = ec2.CfnEIP(self, f"{construct_id}Address", domain="vpc")
        nat = ec2.CfnNatGateway(
            self, construct_id, subnet_id=subnet.subnet_id, allocation_id=address.attr_allocation_id
        )
        nat.add_resource_dependency(self._route)
        return nat, address
