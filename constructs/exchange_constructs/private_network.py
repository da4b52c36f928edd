"""The network: a public tier for load balancers, private tiers without any route out, and one narrow way out."""

from datetime import date
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.dns_firewall import DnsFirewall, names_of_exchange
from exchange_constructs.endpoint_policy import fetches_of_hosts, own_accounts_only
from exchange_constructs.fixed_egress import FixedEgress
from exchange_constructs.flow_records import LockedFlows
from exchange_constructs.nag import HIPAA, NIST, PCI, accept
from exchange_constructs.public_tier import PublicTier
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.tiers import APPLICATION, DATA, EGRESS, INSPECTION, PUBLIC

__all__ = ["APPLICATION", "DATA", "EGRESS", "PUBLIC", "PrivateNetwork", "may_call_aws"]


ENDPOINTS: Final = {
    "AutoScaling": ec2.InterfaceVpcEndpointAwsService.AUTOSCALING,
    "Ecr": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Events": ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE,
    "Lambda": ec2.InterfaceVpcEndpointAwsService.LAMBDA_,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Kafka": ec2.InterfaceVpcEndpointAwsService.KAFKA,
    "Kinesis": ec2.InterfaceVpcEndpointAwsService.KINESIS_STREAMS,
    "Kms": ec2.InterfaceVpcEndpointAwsService.KMS,
    "Secrets": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Sns": ec2.InterfaceVpcEndpointAwsService.SNS,
    "Sqs": ec2.InterfaceVpcEndpointAwsService.SQS,
    "Ssm": ec2.InterfaceVpcEndpointAwsService.SSM,
    "StateMachines": ec2.InterfaceVpcEndpointAwsService.STEP_FUNCTIONS,
    "Sts": ec2.InterfaceVpcEndpointAwsService.STS,
    "Traces": ec2.InterfaceVpcEndpointAwsService.XRAY,
}
"""What services call: image pulls, the event bus, logs, brokers, streams, keys, secrets, topics, queues, traces; and
what a host calls when its group ends it."""


class PrivateNetwork(Construct):
    """Tiers in two or three zones. AWS is reached through endpoints, and names resolve only if they are on a list.

    What runs in the tier EGRESS reaches the hosts of `config.egress`, and nothing else can call out.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, logs_key: kms.IKey) -> None:
        """Create the network, its endpoints and a record of every flow."""
        super().__init__(scope, construct_id)
        self._cidr = config.network.cidr
        endpoint_zones = config.network.endpoint_zone_count
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(config.network.cidr),
            max_azs=config.network.az_count,
            nat_gateways=0,
            create_internet_gateway=False,  # PublicTier makes it
            # Emptying the default group takes a custom resource; instead, nothing uses it, which a test asserts.
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name=PUBLIC, subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name=APPLICATION, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=22),
                ec2.SubnetConfiguration(name=DATA, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
                ec2.SubnetConfiguration(name=EGRESS, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=26),
                ec2.SubnetConfiguration(name=INSPECTION, subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=28),
            ],
        )
        self._record_flows(config, logs_key)
        LockedFlows(self, "LockedFlows", config=config, vpc=self.vpc)
        self._add_gateways(config)
        self._add_endpoints(endpoint_zones)
        public = PublicTier(
            self,
            "PublicTier",
            vpc=self.vpc,
            holds="the WebSocket load balancer, which serves clients anywhere, and NAT gateways",
        )
        self.egress = FixedEgress(self, "FixedEgress", config=config, vpc=self.vpc, public=public, logs_key=logs_key)
        DnsFirewall(
            self,
            "DnsFirewall",
            config=config,
            vpc=self.vpc,
            logs_key=logs_key,
            names=names_of_exchange(config),
        )
        self._accept_findings()

    @property
    def inside(self) -> ec2.IPeer:
        """Any address of this network."""
        return ec2.Peer.ipv4(self._cidr)

    def _record_flows(self, config: Environment, logs_key: kms.IKey) -> None:
        role = ServiceRole(
            self, "FlowLogRole", service="vpc-flow-logs.amazonaws.com", description="Writes the network's flow logs"
        )
        group = ServiceLogs(self, "FlowLogs", config=config, key=logs_key)
        ec2.FlowLog(
            self,
            "FlowLog",
            resource_type=ec2.FlowLogResourceType.from_vpc(self.vpc),
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group, role),
        )

    def _add_gateways(self, config: Environment) -> None:
        tiers = [ec2.SubnetSelection(subnet_group_name=tier) for tier in (APPLICATION, EGRESS)]
        objects = self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3, subnets=tiers)
        objects.add_to_policy(own_accounts_only(config.account, "*"))
        objects.add_to_policy(fetches_of_hosts(config, Stack.of(self).partition))
        items = self.vpc.add_gateway_endpoint(
            "DynamoDb", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB, subnets=tiers
        )
        # Enclaves are asked through a table of the wallet account.
        items.add_to_policy(own_accounts_only(config.account, "*", of=[str(config.accounts.wallet)]))

    def _add_endpoints(self, zone_count: int) -> None:
        group = ec2.SecurityGroup(
            self,
            "EndpointAccess",
            vpc=self.vpc,
            description="Endpoints of AWS services, for this network only",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(self.inside, ec2.Port.tcp(443), "AWS APIs, from inside the network")
        zones = ec2.SubnetSelection(
            subnet_group_name=APPLICATION, availability_zones=self.vpc.availability_zones[:zone_count]
        )
        for name, service in ENDPOINTS.items():
            self.vpc.add_interface_endpoint(name, service=service, subnets=zones, security_groups=[group], open=False)

    def _accept_findings(self) -> None:
        accept(
            self.vpc,
            *(f"{pack}-VPCDefaultSecurityGroupClosed" for pack in (HIPAA, NIST, PCI)),
            reason="CloudFormation cannot empty the default group; nothing uses it, as every interface names its own",
            expires=date(2027, 11, 20),
            owner="security",
        )
        accept(
            self.vpc,
            "CloudFormation-Validate::W3010",
            reason="Zones are written out so that synth asks no account; the region they belong to is fixed by config",
            expires=date(2027, 11, 20),
        )


def may_call_aws(group: ec2.ISecurityGroup) -> None:
    """Let the holder of `group` call AWS. Without a route out, 443 leads to our endpoints; from EGRESS, to its list."""
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS APIs by VPC endpoints, and what routes allow")
