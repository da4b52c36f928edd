"""The public end of the WebSocket gateway: one TLS network load balancer that keeps the client's address."""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnOutput, Duration, IResolvable, RemovalPolicy
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.cut_over_name import CutOverName
from exchange_constructs.nag import accept
from exchange_constructs.private_network import PUBLIC
from exchange_constructs.web_socket_fleet import WebSocketFleet

DRAIN_MINUTES: Final = 5


class StreamFront(Construct):
    """`stream.<domain>` on port 443, spread over the zones. Nothing else in the network faces the internet."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        zone: route53.IHostedZone,
        fleet: WebSocketFleet,
        port: int,
        access_logs: s3.IBucket,
    ) -> None:
        """Create the load balancer in front of `fleet`, whose processes listen on `port`."""
        super().__init__(scope, construct_id)
        name = f"stream.{zone.zone_name}"
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="WebSocket clients, from anywhere", allow_all_outbound=False
        )
        group.add_ingress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "WebSocket clients over TLS")
        accept(
            group,
            "AwsSolutions-EC23",
            reason="The one public entry: WebSocket clients connect from anywhere, to port 443 and to nothing else",
            expires=date(2027, 11, 20),
            owner="security",
        )
        self.balancer = elb.NetworkLoadBalancer(
            self,
            "Balancer",
            vpc=vpc,
            internet_facing=True,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=PUBLIC),
            security_groups=[group],
            cross_zone_enabled=True,
            deletion_protection=True,
        )
        self.addresses = self._fix_addresses(vpc, config)
        self.balancer.set_attribute("zonal_shift.config.enabled", "true")
        self.balancer.log_access_logs(access_logs, "stream")
        self.target_group = elb.NetworkTargetGroup(
            self,
            "Instances",
            vpc=vpc,
            port=port,
            protocol=elb.Protocol.TCP,
            target_type=elb.TargetType.INSTANCE,
            preserve_client_ip=True,
            deregistration_delay=Duration.minutes(DRAIN_MINUTES),
            health_check=elb.HealthCheck(
                protocol=elb.Protocol.HTTP,
                path="/healthz",
                interval=Duration.seconds(10),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
            ),
        )
        fleet.group.attach_to_network_target_group(self.target_group)
        self.balancer.add_listener(
            "Tls",
            port=443,
            protocol=elb.Protocol.TLS,
            certificates=[
                acm.Certificate(
                    self, "Certificate", domain_name=name, validation=acm.CertificateValidation.from_dns(zone)
                )
            ],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            default_target_groups=[self.target_group],
        )
        self.balancer.connections.allow_to_default_port(fleet.connections, "WebSocket clients")
        CutOverName(
            self,
            "Name",
            cut_over=config.migration.cut_over,
            zone=zone,
            name=name,
            target=route53.RecordTarget.from_alias(targets.LoadBalancerTarget(self.balancer)),
            has_ipv6=False,
        )

    def _fix_addresses(self, vpc: ec2.IVpc, config: Environment) -> list[str]:
        """Give the balancer one address in each zone that never changes: clients have them in their firewalls.

        Return the ids of their allocations.
        """
        balancer = cast(elb.CfnLoadBalancer, self.balancer.node.default_child)
        allocations: list[str] = []
        mappings: list[IResolvable | elb.CfnLoadBalancer.SubnetMappingProperty] = []
        for number, subnet in enumerate(vpc.select_subnets(subnet_group_name=PUBLIC).subnets, start=1):
            address = ec2.CfnEIP(self, f"Address{number}", domain="vpc")
            address.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
            mappings.append(
                elb.CfnLoadBalancer.SubnetMappingProperty(
                    subnet_id=subnet.subnet_id, allocation_id=address.attr_allocation_id
                )
            )
            allocations.append(address.attr_allocation_id)
            CfnOutput(self, f"FixedAddress{number}", value=address.attr_public_ip)
        balancer.subnets, balancer.subnet_mappings = None, mappings
        return allocations
