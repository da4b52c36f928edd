"""Networks and what joins them: nothing of it exists on one machine."""

from collections.abc import Mapping
from typing import Final

from local.recorded.forms import Recorded, of_service, with_ids

NETWORK: Final = "networks do not exist on one machine; what they allow is checked at synthesis"
BALANCING: Final = "the front door listens instead"
DNS: Final = "the zone is made before the exchange and by others; local names are loopback ports"
PARTNERS: Final = "partners connect to an account in AWS, not to one machine"

_BALANCER: Final = "arn:aws:elasticloadbalancing:{region}:{account}"

TYPES: Final[Mapping[str, Recorded]] = {
    "AWS::EC2::EIP": Recorded(
        reason=NETWORK, ref="203.0.113.10", attributes={"AllocationId": "eipalloc-{hex17}", "PublicIp": "{ref}"}
    ),
    "AWS::EC2::PrefixList": Recorded(
        reason=NETWORK,
        ref="pl-{hex17}",
        attributes={"PrefixListId": "{ref}", "Arn": "arn:aws:ec2:{region}:{account}:prefix-list/{ref}", "Version": "1"},
    ),
    "AWS::EC2::Route": Recorded(reason=NETWORK, ref="rtb-{hex17}|0.0.0.0/0"),
    "AWS::EC2::SecurityGroup": Recorded(
        reason=NETWORK, ref="sg-{hex17}", attributes={"GroupId": "{ref}", "Id": "{ref}"}
    ),
    "AWS::EC2::TransitGateway": Recorded(
        reason=PARTNERS,
        ref="tgw-{hex17}",
        attributes={"Id": "{ref}", "TransitGatewayArn": "arn:aws:ec2:{region}:{account}:transit-gateway/{ref}"},
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
    "AWS::EC2::VPCEndpointService": Recorded(
        reason=PARTNERS, ref="vpce-svc-{hex17}", attributes={"ServiceId": "{ref}"}
    ),
    "AWS::EC2::Instance": Recorded(
        reason=NETWORK,
        ref="i-{hex17}",
        attributes={"InstanceId": "{ref}", "PrivateIp": "127.0.0.1", "PrivateDnsName": "ip-127-0-0-1.{region}.compute"},
    ),
    **{
        name: Recorded(reason=kind.reason, ref=kind.ref, attributes={attribute: "{ref}"})
        for name, (kind, attribute) in {
            "AWS::EC2::CustomerGateway": (Recorded(reason=PARTNERS, ref="cgw-{hex17}"), "CustomerGatewayId"),
            "AWS::EC2::DHCPOptions": (Recorded(reason=NETWORK, ref="dopt-{hex17}"), "DhcpOptionsId"),
            "AWS::EC2::FlowLog": (Recorded(reason=NETWORK, ref="fl-{hex17}"), "Id"),
            "AWS::EC2::InternetGateway": (Recorded(reason=NETWORK, ref="igw-{hex17}"), "InternetGatewayId"),
            "AWS::EC2::NatGateway": (Recorded(reason=NETWORK, ref="nat-{hex17}"), "NatGatewayId"),
            "AWS::EC2::NetworkAcl": (Recorded(reason=NETWORK, ref="acl-{hex17}"), "Id"),
            "AWS::EC2::NetworkInterface": (Recorded(reason=NETWORK, ref="eni-{hex17}"), "Id"),
            "AWS::EC2::RouteTable": (Recorded(reason=NETWORK, ref="rtb-{hex17}"), "RouteTableId"),
            "AWS::EC2::SecurityGroupEgress": (Recorded(reason=NETWORK, ref="sgr-{hex17}"), "Id"),
            "AWS::EC2::SecurityGroupIngress": (Recorded(reason=NETWORK, ref="sgr-{hex17}"), "Id"),
            "AWS::EC2::Subnet": (Recorded(reason=NETWORK, ref="subnet-{hex17}"), "SubnetId"),
            "AWS::EC2::SubnetRouteTableAssociation": (Recorded(reason=NETWORK, ref="rtbassoc-{hex17}"), "Id"),
            "AWS::EC2::TransitGatewayAttachment": (Recorded(reason=PARTNERS, ref="tgw-attach-{hex17}"), "Id"),
            "AWS::EC2::TransitGatewayVpcAttachment": (Recorded(reason=PARTNERS, ref="tgw-attach-{hex17}"), "Id"),
            "AWS::EC2::TransitGatewayRouteTable": (
                Recorded(reason=PARTNERS, ref="tgw-rtb-{hex17}"),
                "TransitGatewayRouteTableId",
            ),
            "AWS::EC2::VPCEndpoint": (Recorded(reason=NETWORK, ref="vpce-{hex17}"), "Id"),
            "AWS::EC2::VPCPeeringConnection": (Recorded(reason=PARTNERS, ref="pcx-{hex17}"), "Id"),
            "AWS::EC2::VPNConnection": (Recorded(reason=PARTNERS, ref="vpn-{hex17}"), "VpnConnectionId"),
            "AWS::EC2::VPNGateway": (Recorded(reason=PARTNERS, ref="vgw-{hex17}"), "VPNGatewayId"),
        }.items()
    },
    **with_ids(
        "EC2", NETWORK, NetworkAclEntry="acl-", SubnetNetworkAclAssociation="aclassoc-", VPCGatewayAttachment="igw-"
    ),
    **of_service(
        "EC2",
        NETWORK,
        "EgressOnlyInternetGateway",
        "EIPAssociation",
        "GatewayRouteTableAssociation",
        "InstanceConnectEndpoint",
        "SecurityGroupVpcAssociation",
        "SubnetCidrBlock",
        "VPCBlockPublicAccessOptions",
        "VPCCidrBlock",
        "VPCDHCPOptionsAssociation",
        "VPCEncryptionControl",
    ),
    **of_service(
        "EC2",
        PARTNERS,
        "PlacementGroup",
        "TransitGatewayRoute",
        "TransitGatewayRouteTableAssociation",
        "TransitGatewayRouteTablePropagation",
        "VPCEndpointConnectionNotification",
        "VPCEndpointServicePermissions",
        "VPNConnectionRoute",
        "VPNGatewayRoutePropagation",
    ),
    **of_service(
        "DirectConnect",
        PARTNERS,
        "Connection",
        "DirectConnectGateway",
        "DirectConnectGatewayAssociation",
        "PrivateVirtualInterface",
        "PublicVirtualInterface",
        "TransitVirtualInterface",
    ),
    **of_service("RAM", PARTNERS, "Permission", "ResourceShare"),
    **of_service(
        "NetworkFirewall",
        NETWORK,
        "Firewall",
        "FirewallPolicy",
        "LoggingConfiguration",
        "RuleGroup",
        "TLSInspectionConfiguration",
        "VpcEndpointAssociation",
    ),
    **of_service(
        "Route53Resolver",
        NETWORK,
        "FirewallDomainList",
        "FirewallRuleGroup",
        "FirewallRuleGroupAssociation",
        "ResolverConfig",
        "ResolverDNSSECConfig",
        "ResolverEndpoint",
        "ResolverQueryLoggingConfig",
        "ResolverQueryLoggingConfigAssociation",
        "ResolverRule",
        "ResolverRuleAssociation",
    ),
    "AWS::Route53::RecordSet": Recorded(reason=DNS, ref="{name}", name_property="Name"),
    **of_service("ServiceDiscovery", DNS, "Instance"),
    **of_service("Route53", DNS, "DNSSEC", "KeySigningKey", "RecordSetGroup"),
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
    **of_service("ElasticLoadBalancingV2", BALANCING, "ListenerCertificate", "TrustStore", "TrustStoreRevocation"),
}
