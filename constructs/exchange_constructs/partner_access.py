"""How market makers reach us without the internet: PrivateLink to a balancer of their own, and peered networks."""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ram as ram
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.alarm_kinds import IDLE
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.private_network import APPLICATION, PrivateNetwork
from exchange_constructs.web_socket_fleet import WebSocketFleet

ORDERS: Final = 443
MARKET_DATA: Final = 8443
"""Two doors to the same gateway: a maker may keep the flood of prices apart from its orders."""
FIX: Final = 9443
"""The door to the FIX gateway."""
DOORS: Final = (ORDERS, MARKET_DATA, FIX)


class PartnerFront(Construct):
    """An internal TLS balancer in front of the WebSocket and FIX gateways, offered to named accounts one by one.

    Partners pass the same gateway as everyone: the same keys, limits and surveillance. They see no address of ours.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        network: PrivateNetwork,
        zone: route53.IHostedZone,
        fleet: WebSocketFleet,
        port: int,
        fix: FargateService,
        access_logs: s3.IBucket,
        notices: sns.ITopic,
    ) -> None:
        """Create balancer and endpoint service; `notices` hears of every connection that is asked for or ends."""
        super().__init__(scope, construct_id)
        self.host_name = f"partners.{zone.zone_name}"
        group = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="Endpoints of partners, and peers", allow_all_outbound=False
        )
        self.balancer = elb.NetworkLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            internet_facing=False,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_groups=[group],
            # The endpoint service decides who connects, by account; an address of theirs says nothing here.
            enforce_security_group_inbound_rules_on_private_link_traffic=False,
            cross_zone_enabled=True,
            deletion_protection=True,
        )
        self.balancer.set_attribute("zonal_shift.config.enabled", "true")
        self.balancer.log_access_logs(access_logs, "partners")
        certificate = acm.Certificate(
            self,
            "Certificate",
            domain_name=self.host_name,
            validation=acm.CertificateValidation.from_dns(zone),
        )
        for name, listener_port in (("Orders", ORDERS), ("MarketData", MARKET_DATA)):
            target_group = elb.NetworkTargetGroup(
                self,
                f"{name}Hosts",
                vpc=network.vpc,
                port=port,
                protocol=elb.Protocol.TCP,
                target_type=elb.TargetType.INSTANCE,
                preserve_client_ip=True,
                deregistration_delay=Duration.minutes(5),
                health_check=elb.HealthCheck(protocol=elb.Protocol.HTTP, path="/healthz"),
            )
            fleet.group.attach_to_network_target_group(target_group)
            self._listen(name, listener_port, certificate, target_group)
        acceptors = elb.NetworkTargetGroup(
            self,
            "FixTasks",
            vpc=network.vpc,
            port=fix.process.port,
            protocol=elb.Protocol.TCP,
            target_type=elb.TargetType.IP,
            targets=[fix.service],
            deregistration_delay=Duration.seconds(30),
            health_check=elb.HealthCheck(protocol=elb.Protocol.TCP),
        )
        if not config.fix.task_count:
            acceptors.node.add_metadata(IDLE, "there is no acceptor")
        self._listen("Fix", FIX, certificate, acceptors)
        self.balancer.connections.allow_to(fix.connections, ec2.Port.tcp(fix.process.port), "partners' FIX engines")
        self.balancer.connections.allow_to(fleet.connections, ec2.Port.tcp(port), "partners' clients")
        self.group = group
        self.service = ec2.VpcEndpointService(
            self,
            "Service",
            vpc_endpoint_service_load_balancers=[self.balancer],
            acceptance_required=True,
            allowed_principals=[iam.ArnPrincipal(f"arn:aws:iam::{account}:root") for account in _may_ask(config)],
        )
        ec2.CfnVPCEndpointConnectionNotification(
            self,
            "Notices",
            service_id=self.service.vpc_endpoint_service_id,
            connection_notification_arn=notices.topic_arn,
            connection_events=["Accept", "Connect", "Delete", "Reject"],
        )

    def _listen(
        self, name: str, port: int, certificate: acm.ICertificate, target_group: elb.INetworkTargetGroup
    ) -> None:
        self.balancer.add_listener(
            name,
            port=port,
            protocol=elb.Protocol.TLS,
            certificates=[certificate],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            default_target_groups=[target_group],
        )


def _may_ask(config: Environment) -> list[str]:
    """Return the accounts of market makers, and our own where data centres come in through a DMZ."""
    makers = [maker.account for maker in config.partners.market_makers]
    return [*makers, config.account] if config.partners.data_centres else makers


class PeeredPartners(Construct):
    """Networks joined to ours for the lowest latency: one peering, one route back and one rule for each."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, network: PrivateNetwork, front: PartnerFront
    ) -> None:
        """Ask each partner for a peering, and share a placement group with it: no host of ours stands in it yet."""
        super().__init__(scope, construct_id)
        nearby = ec2.CfnPlacementGroup(self, "Nearby", strategy="cluster")
        for peer in config.partners.peered:
            peering = ec2.CfnVPCPeeringConnection(
                self,
                f"{peer.name}Peering",
                vpc_id=network.vpc.vpc_id,
                peer_vpc_id=peer.vpc_id,
                peer_owner_id=peer.account,
                peer_region=config.region,
            )
            for number, subnet in enumerate(network.vpc.select_subnets(subnet_group_name=APPLICATION).subnets):
                ec2.CfnRoute(
                    self,
                    f"{peer.name}Back{number}",
                    route_table_id=subnet.route_table.route_table_id,
                    destination_cidr_block=peer.cidr,
                    vpc_peering_connection_id=peering.ref,
                )
            for port in DOORS:
                front.group.add_ingress_rule(
                    ec2.Peer.ipv4(peer.cidr), ec2.Port.tcp(port), f"Peered network of {peer.name}"
                )
        if accounts := [peer.account for peer in config.partners.peered]:
            ram.CfnResourceShare(
                self,
                "Share",
                name=f"bursa-{config.name}-nearby",
                allow_external_principals=True,
                principals=accounts,
                resource_arns=[
                    f"arn:aws:ec2:{config.region}:{config.account}:placement-group/{nearby.attr_group_name}"
                ],
            )
