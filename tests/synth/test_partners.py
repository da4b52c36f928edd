"""Partners: who is on the list comes in, by private ways, through the same gateway as everyone."""

from dataclasses import replace
from typing import Any

import pytest

from config.model import ConfigError, checked
from tests.conftest import Exchange
from tests.synth.turned_on import LINE, VPN


def test_the_endpoint_service_takes_listed_accounts_one_by_one(exchange: Any) -> None:
    (service,) = [
        each for path, each in exchange.of_type("AWS::EC2::VPCEndpointService") if path.startswith("Gateway/")
    ]
    assert service["AcceptanceRequired"] is True
    assert "PartnerFrontBalancer" in exchange.text(service["NetworkLoadBalancerArns"][0])
    allowed = [
        exchange.text(principal)
        for path, permissions in exchange.of_type("AWS::EC2::VPCEndpointServicePermissions")
        if path.startswith("Gateway/")
        for principal in permissions["AllowedPrincipals"]
    ]
    partners = exchange.config.partners
    wanted = [maker.account for maker in partners.market_makers]
    wanted += [exchange.config.account] if partners.data_centres else []  # our own DMZ asks like a maker
    assert allowed == [f"arn:aws:iam::{account}:root" for account in wanted]
    assert "*" not in allowed


def test_operators_hear_of_every_connection(exchange: Any) -> None:
    ((_, notices),) = exchange.of_type("AWS::EC2::VPCEndpointConnectionNotification")
    assert set(notices["ConnectionEvents"]) == {"Accept", "Connect", "Delete", "Reject"}
    assert "OperatorsTickets" in exchange.text(notices["ConnectionNotificationArn"])


def test_partners_meet_the_gateway_of_everyone_at_two_doors_and_fix_at_a_third(exchange: Any) -> None:
    ports = {
        listener["Port"]
        for path, listener in exchange.of_type("AWS::ElasticLoadBalancingV2::Listener")
        if "PartnerFront" in path
    }
    assert ports == {443, 8443, 9443}
    ((_, fleet),) = [
        (path, group)
        for path, group in exchange.of_type("AWS::AutoScaling::AutoScalingGroup")
        if path.startswith("Gateway/WebSocket")
    ]
    assert sum("PartnerFront" in exchange.text(arn) for arn in fleet["TargetGroupARNs"]) == 2


def test_a_peered_network_reaches_three_ports_and_answers_find_their_way(exchange: Any) -> None:
    peers = exchange.config.partners.peered
    peerings = [peering for _, peering in exchange.of_type("AWS::EC2::VPCPeeringConnection")]
    assert [(p["PeerOwnerId"], p["PeerVpcId"]) for p in peerings] == [(peer.account, peer.vpc_id) for peer in peers]
    routes = [
        r["DestinationCidrBlock"] for _, r in exchange.of_type("AWS::EC2::Route") if "VpcPeeringConnectionId" in r
    ]
    assert sorted(routes) == sorted(peer.cidr for peer in peers for _ in range(exchange.config.network.az_count))
    opened = {
        (rule["CidrIp"], rule["FromPort"], rule["ToPort"])
        for path, group in exchange.of_type("AWS::EC2::SecurityGroup")
        if path.startswith("Gateway/PartnerFront")
        for rule in group.get("SecurityGroupIngress", [])
    }
    assert opened == {(peer.cidr, port, port) for peer in peers for port in (443, 8443, 9443)}


def test_an_empty_list_is_a_closed_door(dev: Any) -> None:
    partners = dev.config.partners
    assert (partners.market_makers, partners.peered, partners.data_centres) == ((), (), ())
    for kind in ("VPCPeeringConnection", "VPCEndpointServicePermissions", "TransitGateway", "VPNConnection"):
        assert [path for path, _ in dev.of_type(f"AWS::EC2::{kind}") if not path.startswith("Nodes/")] == []
    assert list(dev.of_type("AWS::RAM::ResourceShare")) == []


# ---- data centres and banks


def dmz_routes(exchange: Any, tier: str) -> list[dict[str, Any]]:
    """Return the routes of one tier of the DMZ."""
    return [
        route
        for path, route in exchange.of_type("AWS::EC2::Route")
        if path.startswith("Partners/") and f"DmzVpc{tier}Subnet" in exchange.text(route["RouteTableId"])
    ]


def dmz_subnets(exchange: Any, tier: str) -> list[str]:
    return [s["CidrBlock"] for path, s in exchange.of_type("AWS::EC2::Subnet") if f"Partners/DmzVpc{tier}" in path]


def test_the_dmz_alone_attaches_to_the_transit_gateway(prod: Any) -> None:
    ((_, attachment),) = prod.of_type("AWS::EC2::TransitGatewayVpcAttachment")
    assert "DmzVpc" in prod.text(attachment["VpcId"])
    assert all("DmzVpcAttachmentSubnet" in prod.text(subnet) for subnet in attachment["SubnetIds"])
    assert len(attachment["SubnetIds"]) == prod.config.network.az_count
    assert list(prod.of_type("AWS::EC2::TransitGatewayAttachment")) == []
    ((_, gateway),) = prod.of_type("AWS::EC2::TransitGateway")
    closed = ("AutoAcceptSharedAttachments", "DefaultRouteTableAssociation", "DefaultRouteTablePropagation")
    assert {gateway[name] for name in closed} == {"disable"}
    for path, route in prod.of_type("AWS::EC2::Route"):
        assert "TransitGatewayId" not in route or path.startswith("Partners/Dmz"), path


def test_every_packet_of_a_data_centre_passes_the_firewall_of_one_zone_both_ways(prod: Any) -> None:
    zones, centres = prod.config.network.az_count, prod.config.partners.data_centres
    entrances = dmz_subnets(prod, "Entrance")
    assert len(entrances) == zones
    arriving, answering = dmz_routes(prod, "Attachment"), dmz_routes(prod, "Entrance")
    by_entrance = {
        cidr: {prod.text(route["VpcEndpointId"]) for route in arriving if route["DestinationCidrBlock"] == cidr}
        for cidr in entrances
    }
    assert len(arriving) == zones * zones
    assert all(len(firewalls) == 1 for firewalls in by_entrance.values())
    # An answer leaves by the firewall that the question came through, or that drops it as half a connection.
    homes = {
        path.removeprefix("Partners/"): subnet["CidrBlock"]
        for path, subnet in prod.of_type("AWS::EC2::Subnet")
        if "DmzVpcEntrance" in path
    }
    tables = {
        prod.text(each["RouteTableId"]): homes[each["SubnetId"]["Ref"]]
        for path, each in prod.of_type("AWS::EC2::SubnetRouteTableAssociation")
        if "DmzVpcEntrance" in path
    }
    assert len(answering) == zones * len(centres)
    for route in answering:
        assert {prod.text(route["VpcEndpointId"])} == by_entrance[tables[prod.text(route["RouteTableId"])]]
    assert all("TransitGatewayId" in route for route in dmz_routes(prod, "Inspection"))


def test_no_route_of_the_dmz_is_wide(prod: Any) -> None:
    partners = {centre.cidr for centre in prod.config.partners.data_centres}
    for tier, allowed in (
        ("Attachment", set(dmz_subnets(prod, "Entrance"))),
        ("Entrance", partners),
        ("Inspection", partners),
    ):
        found = {route["DestinationCidrBlock"] for route in dmz_routes(prod, tier)}
        assert found == allowed, tier
    ((_, into),) = prod.of_type("AWS::EC2::TransitGatewayRoute")
    assert into["DestinationCidrBlock"] == prod.config.partners.dmz_cidr
    ((_, association),) = prod.of_type("AWS::DirectConnect::DirectConnectGatewayAssociation")
    assert association["AllowedPrefixesToDirectConnectGateway"] == [prod.config.partners.dmz_cidr]
    assert [path for path, _ in prod.of_type("AWS::EC2::InternetGateway") if path.startswith("Partners/")] == []


def test_the_firewall_lets_a_data_centre_say_one_name_at_three_doors_and_nothing_else(prod: Any) -> None:
    ((_, group),) = [(p, g) for p, g in prod.of_type("AWS::NetworkFirewall::RuleGroup") if p.startswith("Partners/")]
    assert group["RuleGroup"]["StatefulRuleOptions"] == {"RuleOrder": "STRICT_ORDER"}
    rules = group["RuleGroup"]["RulesSource"]["RulesString"].splitlines()
    dmz, name = prod.config.partners.dmz_cidr, f'content:"partners.{prod.config.domain}"; startswith; endswith'
    heads = {tuple(rule.split(" (")[0].split()) for rule in rules}
    assert heads == {
        ("pass", protocol, centre.cidr, "any", "->", dmz, port)
        for protocol in ("tls", "tcp")
        for centre in prod.config.partners.data_centres
        for port in ("443", "8443", "9443")
    }
    assert all(name in rule for rule in rules if rule.startswith("pass tls"))
    assert all("flow:not_established" in rule for rule in rules if rule.startswith("pass tcp"))
    numbers = [rule.split("sid:")[1].split(";")[0] for rule in rules]
    assert len(set(numbers)) == len(numbers)
    ((_, policy),) = [
        (p, g) for p, g in prod.of_type("AWS::NetworkFirewall::FirewallPolicy") if p.startswith("Partners/")
    ]
    assert "aws:drop_strict" in policy["FirewallPolicy"]["StatefulDefaultActions"]
    assert policy["FirewallPolicy"]["StatelessDefaultActions"] == ["aws:forward_to_sfe"]


def test_firewalls_flows_and_tunnels_are_on_record_under_our_key(prod: Any) -> None:
    zones = prod.config.network.az_count
    firewalls = [each for path, each in prod.of_type("AWS::NetworkFirewall::Firewall") if path.startswith("Partners/")]
    assert len(firewalls) == zones
    assert all(each["DeleteProtection"] is True and each["SubnetChangeProtection"] is True for each in firewalls)
    logging = [
        {destination["LogType"] for destination in each["LoggingConfiguration"]["LogDestinationConfigs"]}
        for path, each in prod.of_type("AWS::NetworkFirewall::LoggingConfiguration")
        if path.startswith("Partners/")
    ]
    assert logging == [{"ALERT", "FLOW"}] * zones
    flows = [each for path, each in prod.of_type("AWS::EC2::FlowLog") if path.startswith("Partners/Dmz")]
    assert sorted(each["LogDestinationType"] for each in flows) == ["cloud-watch-logs", "s3"]  # the second is locked
    groups = [each for path, each in prod.of_type("AWS::Logs::LogGroup") if path.startswith("Partners/")]
    assert len(groups) == zones + 3  # one for each firewall, of flows, of questions to names, of tunnels
    assert all("KeysLogs" in prod.text(each["KmsKeyId"]) for each in groups)


def test_each_data_centre_has_a_vpn_of_its_own_for_its_own_addresses(prod: Any) -> None:
    centres = prod.config.partners.data_centres
    gateways = {path.split("/")[1]: each for path, each in prod.of_type("AWS::EC2::CustomerGateway")}
    assert [(each["IpAddress"], each["BgpAsn"]) for each in gateways.values()] == [
        (centre.vpn_address, centre.asn) for centre in centres
    ]
    vpns = [each for _, each in prod.of_type("AWS::EC2::VPNConnection")]
    assert [(v["LocalIpv4NetworkCidr"], v["RemoteIpv4NetworkCidr"]) for v in vpns] == [
        (centre.cidr, prod.config.partners.dmz_cidr) for centre in centres
    ]
    for vpn in vpns:
        assert vpn["CustomerGatewayId"]["Ref"] in gateways
        assert vpn["PreSharedKeyStorage"] == "SecretsManager"  # the template holds no key
        assert len(vpn["VpnTunnelOptionsSpecifications"]) == 2
        for tunnel in vpn["VpnTunnelOptionsSpecifications"]:
            assert "PreSharedKey" not in tunnel
            assert tunnel["IKEVersions"] == [{"Value": "ikev2"}]
            assert tunnel["LogOptions"]["CloudwatchLogOptions"]["LogEnabled"] is True
            assert {each["Value"] for each in tunnel["Phase1EncryptionAlgorithms"]} == {"AES256-GCM-16"}


def test_nothing_passes_a_link_before_its_attachment_is_known(prod: Any) -> None:
    ((_, association),) = prod.of_type("AWS::EC2::TransitGatewayRouteTableAssociation")
    assert "DmzAttachment" in prod.text(association["TransitGatewayAttachmentId"])
    assert list(prod.of_type("AWS::EC2::TransitGatewayRouteTablePropagation")) == []


def test_what_comes_by_a_link_is_routed_to_the_dmz_and_never_to_another_partner(turned_on: Exchange) -> None:
    tables = {
        exchange_side: {
            turned_on.text(each["TransitGatewayAttachmentId"]): each["TransitGatewayRouteTableId"]["Ref"]
            for _, each in turned_on.of_type(f"AWS::EC2::TransitGatewayRouteTable{exchange_side}")
        }
        for exchange_side in ("Association", "Propagation")
    }
    ((_, into),) = turned_on.of_type("AWS::EC2::TransitGatewayRoute")
    arrivals = into["TransitGatewayRouteTableId"]["Ref"]
    arriving, learning = tables["Association"], tables["Propagation"]
    assert {name for name, table in arriving.items() if table == arrivals} == {VPN, LINE}
    assert set(learning) == {VPN, LINE}
    assert arrivals not in learning.values()  # else partners would find each other


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("dmz_cidr", "10.31.0.0/25", "must be /16 to /24"),
        ("line_asn", 64_514, "must differ from partners.amazon_asn"),
        ("line_attachment", "vgw-1", "must be the id of a transit gateway attachment"),
    ],
)
def test_a_link_that_cannot_be_is_refused(prod: Any, field: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked(replace(prod.config, partners=replace(prod.config.partners, **{field: value})))


def test_fix_is_off_where_it_has_no_task_and_nobody_is_woken_for_that(exchange: Any) -> None:
    count = exchange.config.fix.task_count
    assert (count == 0) is (exchange.config.name == "dev")
    ((_, service),) = [each for each in exchange.of_type("AWS::ECS::Service") if each[0].startswith("Gateway/Fix")]
    assert service["DesiredCount"] == count
    about = {
        alarm["AlarmName"].removeprefix(f"Bursa-{exchange.config.name}-Gateway-"): alarm
        for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm")
    }
    tasks = about["Fix-Service-too-few-tasks-Page"]
    targets = about["PartnerFront-FixTasks-no-healthy-target-Page"]
    for alarm, least in ((tasks, count), (targets, min(count, 1))):
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (least, "LessThanThreshold")
        assert (alarm["TreatMissingData"] == "breaching") is (count > 0)
