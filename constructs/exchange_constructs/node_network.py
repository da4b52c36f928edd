"""The network of the chain nodes: they call peers by named ports through a gateway, and nobody calls them."""

from typing import Final, cast

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from config.nodes import ChainConfig
from exchange_constructs.network_guard import guard
from exchange_constructs.public_tier import PublicTier
from exchange_constructs.tiers import APPLICATION, PUBLIC

ETHEREUM_PORTS: Final = 30303, 9000
"""Where peers listen: execution and consensus clients."""
BITCOIN_PORTS: Final = {"main": 8333, "test": 18333, "testnet4": 48333, "signet": 38333, "regtest": 18444}
"""The same of each network of Bitcoin."""


class NodeNetwork(Construct):
    """Joined to no other network: the exchange reaches the balancer by PrivateLink, one way, and to nothing else.

    No name resolves but AWS's and those of seeds. Once it has peers, a node finds more by addresses: from those, from
    its disk, and from those built in.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, logs_key: kms.IKey) -> None:
        """Create the network, its gateways and the one endpoint it needs; flows and questions to names are recorded."""
        super().__init__(scope, construct_id)
        cidr = config.nodes.cidr
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(cidr),
            max_azs=config.network.az_count,
            create_internet_gateway=False,  # PublicTier makes it
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name=PUBLIC, subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name=APPLICATION, subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=27),
            ],
        )
        guard(self, config=config, vpc=self.vpc, logs_key=logs_key, names=config.nodes.peer_names)
        group = ec2.SecurityGroup(
            self, "EndpointAccess", vpc=self.vpc, description="Endpoint of EC2 for node hosts", allow_all_outbound=False
        )
        self.compute = self.vpc.add_interface_endpoint(
            "Compute",
            service=ec2.InterfaceVpcEndpointAwsService.EC2,
            subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_groups=[group],
            open=False,
        )
        public = PublicTier(
            self, "PublicTier", vpc=self.vpc, holds="NAT gateways, which let nodes call peers and let nobody in"
        )
        nats = [
            public.add_nat(f"Nat{number}", subnet)[0]
            for number, subnet in enumerate(self.vpc.public_subnets[: config.nodes.nat_zone_count], start=1)
        ]
        for at, subnet in enumerate(self.vpc.private_subnets):
            cast(ec2.PrivateSubnet, subnet).add_default_nat_route(nats[at % len(nats)].ref)

    def may_call_peers(self, group: ec2.ISecurityGroup, chain: ChainConfig) -> None:
        """Let the holder of `group` call the peers of `chain`, wherever they are."""
        for port in (BITCOIN_PORTS[chain.network],) if chain.name == "bitcoin" else ETHEREUM_PORTS:
            group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), f"Peers of {chain.name}")
