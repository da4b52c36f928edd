"""The way to the nodes: one internal balancer with a port for each node, offered to one account by PrivateLink."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from config.nodes import NodesConfig
from exchange_constructs.chain_node import SIDECAR_PORT, ChainNode
from exchange_constructs.nag import HIPAA, NIST, PCI, accept
from exchange_constructs.tiers import APPLICATION

PORT_FIRST: Final = 8601


def node_ports(nodes: NodesConfig, chain: str) -> list[int]:
    """Return the ports of a chain's nodes on the balancer, in the order of their builds."""
    every = [each.name for each in nodes.chains for _ in each.builds]
    return [PORT_FIRST + at for at, name in enumerate(every) if name == chain]


class NodeService(Construct):
    """Each node has a port of its own, so whoever asks can compare them. One that is not believed answers 503."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        vpc: ec2.IVpc,
        nodes: Sequence[ChainNode],
        access_logs: s3.IBucket,
    ) -> None:
        """Create balancer and endpoint service; `nodes` are in the order of the configuration."""
        super().__init__(scope, construct_id)
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description="Balancer of the nodes: PrivateLink only", allow_all_outbound=False
        )
        self.balancer = elb.NetworkLoadBalancer(
            self,
            "Balancer",
            vpc=vpc,
            internet_facing=False,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_groups=[group],
            cross_zone_enabled=True,
            deletion_protection=True,
            # The group lets nobody in: what comes by the endpoint service is admitted there, by account.
            enforce_security_group_inbound_rules_on_private_link_traffic=False,
        )
        self.balancer.set_attribute("zonal_shift.config.enabled", "true")
        self.balancer.log_access_logs(access_logs, "nodes")
        for at, node in enumerate(nodes):
            self._offer(vpc, node, PORT_FIRST + at)
        self.service = ec2.VpcEndpointService(
            self,
            "Service",
            vpc_endpoint_service_load_balancers=[self.balancer],
            acceptance_required=False,
            allowed_principals=[iam.AccountPrincipal(config.accounts.core)],
        )

    def _offer(self, vpc: ec2.IVpc, node: ChainNode, port: int) -> None:
        targets = elb.NetworkTargetGroup(
            self,
            f"Targets{node.node.id}",
            vpc=vpc,
            port=SIDECAR_PORT,
            protocol=elb.Protocol.TCP,
            target_type=elb.TargetType.INSTANCE,
            preserve_client_ip=False,
            deregistration_delay=Duration.seconds(30),
            health_check=elb.HealthCheck(
                protocol=elb.Protocol.HTTP,
                path="/alive",
                interval=Duration.seconds(10),
                healthy_threshold_count=2,
                unhealthy_threshold_count=2,
            ),
        )
        node.group.attach_to_network_target_group(targets)
        listener = self.balancer.add_listener(
            f"Listener{node.node.id}", port=port, protocol=elb.Protocol.TCP, default_target_groups=[targets]
        )
        accept(
            listener,
            *(f"{pack}-ELBv2ACMCertificateRequired" for pack in (HIPAA, NIST, PCI)),
            reason="Reached by PrivateLink from one account only; a certificate would need a zone of another account. "
            "What it says is public, and is believed only where a second node says the same",
            expires=date(2027, 11, 20),
            owner="security",
        )
        self.balancer.connections.allow_to_default_port(node.connections, f"Questions to {node.name}")
