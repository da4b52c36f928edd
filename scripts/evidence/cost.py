"""What an environment costs a month: the templates say what runs always, a usage file what depends on traffic."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from scripts.evidence.assembly import Assembly, Resource

HOURS: Final = 730
"""Hours of a month, as AWS counts them."""
NIGHT_HOURS: Final = 0.25
"""How long the nightly job of the lake is taken to run: fifteen minutes."""
GP3: Final = "gp3"
GP3_IOPS: Final = 3000
GP3_MIB_S: Final = 125
"""What such a disk has without being paid for."""
CONFIG: Final = Path(__file__).resolve().parents[2] / "config"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the bill."""

    area: str
    what: str
    quantity: float
    unit: str
    price: float
    """US dollars for one unit."""

    @property
    def usd(self) -> float:
        """Return the month's amount."""
        return self.quantity * self.price


Price = Callable[[Resource, dict[str, Any]], Iterator[tuple[str, str, float]]]
_PRICED: Final[dict[str, Price]] = {}


def _of(*types: str) -> Callable[[Price], Price]:
    def register(price: Price) -> Price:
        _PRICED.update(dict.fromkeys(types, price))
        return price

    return register


def items(assembly: Assembly, stage: str) -> tuple[list[Item], list[str]]:
    """Return the bill of one environment, and the types in it that nothing here prices.

    Raises ValueError when a fleet has hosts, or a disk is, of a type without a price.
    """
    prices = facts()["prices"]
    usage = json.loads((CONFIG / "usage.json").read_text())["environments"][stage.lower()]
    lines: dict[tuple[str, str], float] = defaultdict(float)
    unpriced = set()
    tasks = {each.logical_id: each for each in assembly.of(stage, "AWS::ECS::TaskDefinition")}
    templates = {(each.stack, each.logical_id): each for each in assembly.of(stage, "AWS::EC2::LaunchTemplate")}
    for resource in assembly.of(stage):
        if not resource.is_on:
            continue
        if resource.type in _PRICED:
            priced = resource
            if resource.type == "AWS::ECS::Service":  # its size stands in its task
                task = tasks[resource.properties["TaskDefinition"]["Ref"]].properties
                priced = replace(resource, properties=resource.properties | {"Task": task})
            elif resource.type == "AWS::AutoScaling::AutoScalingGroup":  # and the type of a host in its template
                reference = resource.properties["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
                data = templates[resource.stack, reference].properties["LaunchTemplateData"]
                priced = replace(resource, properties=resource.properties | {"Host": data["InstanceType"]})
            for area, price, quantity in _PRICED[resource.type](priced, usage):
                lines[area, price] += quantity
        elif not resource.type.startswith(_NO_CHARGE):
            unpriced.add(resource.type)
    for price, quantity in usage["traffic"].items():
        lines["Traffic", price] += quantity
    bill = [
        Item(area, prices[price]["what"], quantity, prices[price]["unit"], prices[price]["usd"])
        for (area, price), quantity in sorted(lines.items())
        if quantity
    ]
    return bill, sorted(unpriced)


_NO_CHARGE: Final = (
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::Subnet",
    "AWS::EC2::VPCGateway",
    "AWS::EC2::NetworkAcl",
    "AWS::EC2::Route",
    "AWS::EC2::FlowLog",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::VPCPeering",
    "AWS::EC2::VPCEndpointService",
    "AWS::EC2::PlacementGroup",
    "AWS::EC2::DHCP",
    "AWS::EC2::EIPAssociation",
    "AWS::EC2::Prefix",
    "AWS::RAM::",
    "AWS::IAM::",
    "AWS::SQS::",
    "AWS::SNS::",
    "AWS::SSM::Parameter",
    "AWS::S3::BucketPolicy",
    "AWS::ServiceDiscovery::",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::AutoScaling::Scaling",
    "AWS::AutoScaling::Lifecycle",
    "AWS::ApplicationAutoScaling::",
    "AWS::RDS::DBSubnetGroup",
    "AWS::RDS::DBClusterParameterGroup",
    "AWS::RDS::DBProxyTargetGroup",
    "AWS::RDS::DBInstance",
    "AWS::MSK::Configuration",
    "AWS::MSK::ClusterPolicy",
    "AWS::CertificateManager::",
    "AWS::Events::Rule",
    "AWS::Events::EventBusPolicy",
    "AWS::Events::ApiDestination",
    "AWS::Events::Connection",
    "AWS::Events::Archive",
    "AWS::ECR::RegistryScanningConfiguration",
    "AWS::EventSchemas::",
    "AWS::Lambda::",
    "AWS::Logs::",
    "AWS::SecretsManager::SecretTargetAttachment",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::SecretsManager::ResourcePolicy",
    "AWS::KMS::Alias",
    "AWS::Route53::RecordSet",
    "AWS::Route53Resolver::FirewallDomainList",
    "AWS::Route53Resolver::FirewallRuleGroup",
    "AWS::WAFv2::WebACLAssociation",
    "AWS::WAFv2::LoggingConfiguration",
    "AWS::CloudFront::",
    "AWS::Athena::",
    "AWS::Glue::Database",
    "AWS::Glue::SecurityConfiguration",
    "AWS::Glue::Table",
    "AWS::Glue::Trigger",
    "AWS::LakeFormation::",
    "AWS::StepFunctions::",
    "AWS::Scheduler::",
    "AWS::DynamoDB::",
    "AWS::S3::Bucket",
    "AWS::Budgets::",
    "AWS::AccessAnalyzer::",
    "AWS::Backup::",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain",
    "AWS::NetworkFirewall::FirewallPolicy",
    "AWS::NetworkFirewall::RuleGroup",
    "AWS::NetworkFirewall::LoggingConfiguration",
    "AWS::SES::",
    "AWS::CloudFormation::",
    "AWS::ElastiCache::SubnetGroup",
    "AWS::KinesisFirehose::",
    "AWS::Amplify::",
)
"""Nothing by the hour: free, or paid by use, which the usage file holds."""


@_of("AWS::ECS::Service")
def _fargate(service: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    task, count = service.properties["Task"], service.properties.get("DesiredCount", 1)
    yield "Services", "fargate_vcpu_hour", count * int(task["Cpu"]) / 1024 * HOURS
    yield "Services", "fargate_gb_hour", count * int(task["Memory"]) / 1024 * HOURS


@_of("AWS::AutoScaling::AutoScalingGroup")
def _fleet(group: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    host = group.properties["Host"]
    price = next((name for name, each in facts()["prices"].items() if host in each.get("hosts", ())), None)
    if price is None:
        raise ValueError(f"{group.name}: config/prices.json has no price for a host of type {host}")
    yield "Hosts", price, float(group.properties["MinSize"]) * HOURS


@_of("AWS::RDS::DBCluster")
def _aurora(cluster: Resource, usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    least = cluster.properties["ServerlessV2ScalingConfiguration"]["MinCapacity"]
    yield "Stores", "aurora_acu_hour", max(least, usage["aurora_acu_mean"]) * usage["aurora_instances"] * HOURS
    yield "Stores", "aurora_gb_month", usage["aurora_gb"]


@_of("AWS::RDS::DBProxy")
def _proxy(_proxy: Resource, usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    yield "Stores", "rds_proxy_acu_hour", max(8, usage["aurora_acu_mean"]) * HOURS


@_of("AWS::MSK::Cluster")
def _msk(cluster: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    brokers = cluster.properties["NumberOfBrokerNodes"]
    group = cluster.properties["BrokerNodeGroupInfo"]
    size = "msk_xlarge_hour" if "xlarge" in group["InstanceType"] else "msk_large_hour"
    yield "Stores", size, brokers * HOURS
    yield "Stores", "msk_gb_month", brokers * group["StorageInfo"]["EBSStorageInfo"]["VolumeSize"]


@_of("AWS::EC2::VPCEndpoint")
def _endpoint(endpoint: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    if endpoint.properties.get("VpcEndpointType") == "Interface":
        yield "Network", "endpoint_hour", len(endpoint.properties.get("SubnetIds", [1])) * HOURS


@_of("AWS::ElasticLoadBalancingV2::LoadBalancer")
def _balancer(_balancer: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    yield "Network", "balancer_hour", HOURS


@_of("AWS::EC2::Volume")
def _disk(disk: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    given = disk.properties
    if given["VolumeType"] != GP3:
        raise ValueError(f"{disk.name}: config/prices.json has no price for a disk of type {given['VolumeType']}")
    yield "Stores", "gp3_gb_month", float(given["Size"])
    yield "Stores", "gp3_iops_month", max(0.0, float(given.get("Iops", GP3_IOPS)) - GP3_IOPS)
    yield "Stores", "gp3_mib_s_month", max(0.0, float(given.get("Throughput", GP3_MIB_S)) - GP3_MIB_S)


@_of("AWS::Glue::Job")
def _nightly(job: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    yield "Analytics", "glue_dpu_hour", job.properties["NumberOfWorkers"] * NIGHT_HOURS * HOURS / 24


def _each(area: str, price: str, quantity: float) -> Price:
    def price_of(_resource: Resource, _usage: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
        yield area, price, quantity

    return price_of


for _types, _line in {
    ("AWS::MSK::ServerlessCluster",): ("Stores", "msk_serverless_hour", HOURS),
    ("AWS::ElastiCache::ServerlessCache",): ("Stores", "valkey_gb_hour", HOURS / 10),
    ("AWS::Kinesis::Stream",): ("Streams", "kinesis_stream_hour", HOURS),
    ("AWS::KMS::Key", "AWS::KMS::ReplicaKey"): ("Security", "kms_key_month", 1),
    ("AWS::SecretsManager::Secret",): ("Security", "secret_month", 1),
    ("AWS::WAFv2::WebACL",): ("Security", "waf_acl_month", 1),
    ("AWS::CloudWatch::Alarm",): ("Operations", "alarm_month", 1),
    ("AWS::CloudWatch::Dashboard",): ("Operations", "dashboard_month", 1),
    ("AWS::EC2::NatGateway",): ("Network", "nat_hour", HOURS),
    ("AWS::EC2::EIP",): ("Network", "public_ip_hour", HOURS),
    ("AWS::EC2::VPNConnection",): ("Network", "vpn_hour", HOURS),
    ("AWS::EC2::TransitGatewayAttachment", "AWS::EC2::TransitGatewayVpcAttachment"): ("Network", "transit_hour", HOURS),
    ("AWS::NetworkFirewall::Firewall",): ("Network", "firewall_hour", HOURS),
    ("AWS::Route53::HostedZone",): ("Network", "zone_month", 1),
    ("AWS::Route53::HealthCheck",): ("Network", "health_check_month", 1),
    ("AWS::KinesisAnalyticsV2::Application",): ("Streams", "flink_kpu_hour", 0),
}.items():
    _PRICED.update(dict.fromkeys(_types, _each(*_line)))


def total(bill: list[Item]) -> float:
    """Return the month's sum in US dollars."""
    return sum(item.usd for item in bill)


def facts() -> dict[str, Any]:
    """Return the price file: its date, its source, its prices."""
    loaded: dict[str, Any] = json.loads((CONFIG / "prices.json").read_text())
    return loaded
