"""A network without any way in or out but the endpoints it is given: no gateway, no peer, no load balancer."""

from collections.abc import Mapping

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.network_guard import guard
from exchange_constructs.private_network import APPLICATION


class IsolatedNetwork(Construct):
    """One tier of subnets whose route tables know only this network and gateway endpoints."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        cidr: str,
        gateways: Mapping[str, ec2.GatewayVpcEndpointAwsService],
        interfaces: Mapping[str, ec2.InterfaceVpcEndpointAwsService],
        logs_key: kms.IKey,
    ) -> None:
        """Create the network and an endpoint for each service, by name; flows and questions to names are recorded."""
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(cidr),
            max_azs=config.network.az_count,
            nat_gateways=0,
            create_internet_gateway=False,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name=APPLICATION, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=26)
            ],
        )
        guard(self, config=config, vpc=self.vpc, logs_key=logs_key)
        subnets = ec2.SubnetSelection(subnet_group_name=APPLICATION)
        self.gateways = {
            name: self.vpc.add_gateway_endpoint(name, service=gateway, subnets=[subnets])
            for name, gateway in gateways.items()
        }
        group = ec2.SecurityGroup(
            self, "EndpointAccess", vpc=self.vpc, description="Endpoints of AWS services", allow_all_outbound=False
        )
        group.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(443), "AWS APIs, from inside the network")
        self.interfaces = {
            name: self.vpc.add_interface_endpoint(
                name, service=interface, subnets=subnets, security_groups=[group], open=False
            )
            for name, interface in interfaces.items()
        }
