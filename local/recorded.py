"""Types that are not created in the embedded AWS, each with the reason, and what stands in their place.

Their `Ref` and attributes look like the real thing: Ref is an ARN, a name or a generated id as CloudFormation gives it,
the same in every run. The stores among them answer with the address of what stands in for them on this machine, so a
service finds its database through its own variables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Wanted
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

NETWORK: Final = "networks do not exist on one machine; what they allow is checked at synthesis"
BALANCING: Final = "the front door listens instead"
SCALING: Final = "the launcher starts the smallest number that the template allows"
EDGE: Final = "the front door is reached by loopback only"
STORE: Final = "a local server stands in, at the address that the template's own references give"
DNS: Final = "the zone is made before the exchange and by others; local names are loopback ports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Why a type is not created, and the form of its Ref and attributes.

    Forms may name {account}, {region}, {name}, {ref}, and {hex8}, {hex17}, {hex32}: digits that follow from the path.
    """

    reason: str
    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    name_limit: int = 255
    name_property: str = ""


def record(wanted: Wanted, cloud: "Cloud") -> Placed:
    """Return what the resource would have become, without creating anything."""
    kind = RECORDED[wanted.type]
    digits = sha256(wanted.path.encode()).hexdigest()
    parts = {
        "account": cloud.account,
        "region": wanted.region,
        "name": wanted.name(kind.name_property, limit=kind.name_limit),
        "hex8": digits[:8],
        "hex17": digits[:17],
        "hex32": digits[:32],
        "uuid": "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32])),
    }
    ref = kind.ref.format(**parts)
    attributes: dict[str, Json] = {name: form.format(**parts, ref=ref) for name, form in kind.attributes.items()}
    if stand_in := _STAND_INS.get(wanted.type):
        attributes |= stand_in(wanted, ref, cloud)
    return Placed(ref, attributes)


def _database(wanted: Wanted, ref: str, cloud: "Cloud") -> dict[str, Json]:
    host, port = cloud.stand_ins.postgres
    given = wanted.properties
    cloud.databases[ref] = {
        "engine": "postgres",
        "host": host,
        "port": port,
        "dbname": given.get("DatabaseName", "postgres"),
        "dbClusterIdentifier": ref,
    }
    cloud.logins[ref] = (str(given["MasterUsername"]), str(given["MasterUserPassword"]))
    return {
        "Endpoint.Address": host,
        "Endpoint.Port": str(port),
        "ReadEndpoint.Address": host,
    }


def _cache(_wanted: Wanted, _ref: str, cloud: "Cloud") -> dict[str, Json]:
    host, port = cloud.stand_ins.valkey
    return {
        "Endpoint.Address": host,
        "Endpoint.Port": str(port),
        "ReaderEndpoint.Address": host,
        "ReaderEndpoint.Port": str(port),
    }


_STAND_INS: Final[Mapping[str, Callable[[Wanted, str, "Cloud"], dict[str, Json]]]] = {
    "AWS::RDS::DBCluster": _database,
    "AWS::ElastiCache::ServerlessCache": _cache,
}

_BALANCER: Final = "arn:aws:elasticloadbalancing:{region}:{account}"
RECORDED: Final[Mapping[str, Recorded]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": Recorded(reason=SCALING, ref="service/{name}"),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Recorded(
        reason=SCALING, ref="arn:aws:autoscaling:{region}:{account}:scalingPolicy:{uuid}"
    ),
    "AWS::AutoScaling::AutoScalingGroup": Recorded(
        reason=SCALING,
        ref="{name}",
        name_property="AutoScalingGroupName",
        attributes={
            "AutoScalingGroupARN": "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{uuid}:"
            "autoScalingGroupName/{name}"
        },
    ),
    "AWS::AutoScaling::LifecycleHook": Recorded(reason=SCALING, ref="{name}"),
    "AWS::AutoScaling::ScalingPolicy": Recorded(
        reason=SCALING, ref="arn:aws:autoscaling:{region}:{account}:scalingPolicy:{uuid}"
    ),
    "AWS::CDK::Metadata": Recorded(reason="tells AWS which constructs were used", ref="{name}"),
    "AWS::CertificateManager::Certificate": Recorded(
        reason=EDGE, ref="arn:aws:acm:{region}:{account}:certificate/{uuid}"
    ),
    "AWS::CloudWatch::CompositeAlarm": Recorded(
        reason="moto has none",
        ref="{name}",
        name_property="AlarmName",
        attributes={"Arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{ref}"},
    ),
    "AWS::EC2::EIP": Recorded(
        reason=NETWORK, ref="203.0.113.10", attributes={"AllocationId": "eipalloc-{hex17}", "PublicIp": "{ref}"}
    ),
    "AWS::EC2::FlowLog": Recorded(reason=NETWORK, ref="fl-{hex17}", attributes={"Id": "{ref}"}),
    "AWS::EC2::InternetGateway": Recorded(reason=NETWORK, ref="igw-{hex17}", attributes={"InternetGatewayId": "{ref}"}),
    "AWS::EC2::LaunchTemplate": Recorded(
        reason="its service descriptor is started as a process",
        ref="lt-{hex17}",
        attributes={"LaunchTemplateId": "{ref}", "DefaultVersionNumber": "1", "LatestVersionNumber": "1"},
    ),
    "AWS::EC2::NatGateway": Recorded(reason=NETWORK, ref="nat-{hex17}", attributes={"NatGatewayId": "{ref}"}),
    "AWS::EC2::NetworkAcl": Recorded(reason=NETWORK, ref="acl-{hex17}", attributes={"Id": "{ref}"}),
    "AWS::EC2::NetworkAclEntry": Recorded(reason=NETWORK, ref="{name}"),
    "AWS::EC2::Route": Recorded(reason=NETWORK, ref="rtb-{hex17}|0.0.0.0/0"),
    "AWS::EC2::RouteTable": Recorded(reason=NETWORK, ref="rtb-{hex17}", attributes={"RouteTableId": "{ref}"}),
    "AWS::EC2::SecurityGroup": Recorded(
        reason=NETWORK,
        ref="sg-{hex17}",
        attributes={"GroupId": "{ref}", "Id": "{ref}"},
    ),
    "AWS::EC2::SecurityGroupEgress": Recorded(reason=NETWORK, ref="sgr-{hex17}", attributes={"Id": "{ref}"}),
    "AWS::EC2::SecurityGroupIngress": Recorded(reason=NETWORK, ref="sgr-{hex17}", attributes={"Id": "{ref}"}),
    "AWS::EC2::Subnet": Recorded(reason=NETWORK, ref="subnet-{hex17}", attributes={"SubnetId": "{ref}"}),
    "AWS::EC2::SubnetNetworkAclAssociation": Recorded(reason=NETWORK, ref="aclassoc-{hex17}"),
    "AWS::EC2::SubnetRouteTableAssociation": Recorded(
        reason=NETWORK, ref="rtbassoc-{hex17}", attributes={"Id": "{ref}"}
    ),
    "AWS::EC2::VPC": Recorded(
        reason=NETWORK,
        ref="vpc-{hex17}",
        attributes={
            "VpcId": "{ref}",
            "DefaultNetworkAcl": "acl-{hex17}",
            "DefaultSecurityGroup": "sg-{hex17}",
        },
    ),
    "AWS::EC2::VPCEndpoint": Recorded(reason=NETWORK, ref="vpce-{hex17}", attributes={"Id": "{ref}"}),
    "AWS::EC2::VPCGatewayAttachment": Recorded(reason=NETWORK, ref="{name}"),
    "AWS::ElastiCache::ServerlessCache": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="ServerlessCacheName",
        name_limit=40,
        attributes={"ARN": "arn:aws:elasticache:{region}:{account}:serverlesscache:{ref}"},
    ),
    "AWS::ElasticLoadBalancingV2::Listener": Recorded(
        reason=BALANCING, ref=_BALANCER + ":listener/app/{name}/{hex17}", attributes={"ListenerArn": "{ref}"}
    ),
    "AWS::ElasticLoadBalancingV2::ListenerRule": Recorded(
        reason=BALANCING, ref=_BALANCER + ":listener-rule/app/{name}/{hex17}", attributes={"RuleArn": "{ref}"}
    ),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": Recorded(
        reason=BALANCING,
        ref=_BALANCER + ":loadbalancer/app/{name}/{hex17}",
        name_property="Name",
        name_limit=32,
        attributes={
            "LoadBalancerArn": "{ref}",
            "LoadBalancerName": "{name}",
            "LoadBalancerFullName": "app/{name}/{hex17}",
            "DNSName": "{name}-{hex8}.elb.{region}.amazonaws.com",
            "CanonicalHostedZoneID": "Z08888821HLRG5A9ZRTER",
        },
    ),
    "AWS::ElasticLoadBalancingV2::TargetGroup": Recorded(
        reason=BALANCING,
        ref=_BALANCER + ":targetgroup/{name}/{hex17}",
        name_property="Name",
        name_limit=32,
        attributes={
            "TargetGroupArn": "{ref}",
            "TargetGroupName": "{name}",
            "TargetGroupFullName": "targetgroup/{name}/{hex17}",
        },
    ),
    "AWS::MSK::Cluster": Recorded(
        reason="the engine's file journal stands in",
        ref="arn:aws:kafka:{region}:{account}:cluster/{name}/{uuid}-1",
        name_property="ClusterName",
        name_limit=64,
        attributes={"Arn": "{ref}"},
    ),
    "AWS::MSK::Configuration": Recorded(
        reason="the engine's file journal stands in",
        ref="arn:aws:kafka:{region}:{account}:configuration/{name}/{uuid}-1",
        name_property="Name",
        attributes={"Arn": "{ref}", "LatestRevision.Revision": "1"},
    ),
    "AWS::MSK::ServerlessCluster": Recorded(
        reason="the engine's file journal stands in",
        ref="arn:aws:kafka:{region}:{account}:cluster/{name}/{uuid}-s1",
        name_property="ClusterName",
        name_limit=64,
        attributes={"Arn": "{ref}"},
    ),
    "AWS::RDS::DBCluster": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="DBClusterIdentifier",
        name_limit=63,
        attributes={
            "DBClusterArn": "arn:aws:rds:{region}:{account}:cluster:{ref}",
            "DBClusterResourceId": "cluster-{hex32}",
        },
    ),
    "AWS::RDS::DBClusterParameterGroup": Recorded(reason=STORE, ref="{name}"),
    "AWS::RDS::DBInstance": Recorded(
        reason=STORE,
        ref="{name}",
        name_property="DBInstanceIdentifier",
        name_limit=63,
        attributes={
            "DBInstanceArn": "arn:aws:rds:{region}:{account}:db:{ref}",
            "DbiResourceId": "db-{hex32}",
        },
    ),
    "AWS::RDS::DBSubnetGroup": Recorded(reason=NETWORK, ref="{name}"),
    "AWS::Route53::RecordSet": Recorded(reason=DNS, ref="{name}", name_property="Name"),
    "AWS::WAFv2::LoggingConfiguration": Recorded(
        reason=EDGE, ref="arn:aws:wafv2:{region}:{account}:regional/webacl/{name}/{uuid}"
    ),
    "AWS::WAFv2::WebACL": Recorded(
        reason=EDGE,
        ref="{name}|{uuid}|REGIONAL",
        attributes={
            "Arn": "arn:aws:wafv2:{region}:{account}:regional/webacl/{name}/{uuid}",
            "Id": "{uuid}",
        },
    ),
    "AWS::WAFv2::WebACLAssociation": Recorded(reason=EDGE, ref="{name}"),
}
