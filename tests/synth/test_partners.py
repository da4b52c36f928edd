"""Partners: who is on the list comes in, by private ways, through the same gateway as everyone."""

from typing import Any


def test_the_endpoint_service_takes_listed_accounts_one_by_one(exchange: Any) -> None:
    ((_, service),) = exchange.of_type("AWS::EC2::VPCEndpointService")
    assert service["AcceptanceRequired"] is True
    assert "PartnerFrontBalancer" in exchange.text(service["NetworkLoadBalancerArns"][0])
    allowed = [
        exchange.text(principal)
        for _, permissions in exchange.of_type("AWS::EC2::VPCEndpointServicePermissions")
        for principal in permissions["AllowedPrincipals"]
    ]
    assert allowed == [f"arn:aws:iam::{maker.account}:root" for maker in exchange.config.partners.market_makers]
    assert "*" not in allowed


def test_operators_hear_of_every_connection(exchange: Any) -> None:
    ((_, notices),) = exchange.of_type("AWS::EC2::VPCEndpointConnectionNotification")
    assert set(notices["ConnectionEvents"]) == {"Accept", "Connect", "Delete", "Reject"}
    assert "OperatorsTickets" in exchange.text(notices["ConnectionNotificationArn"])


def test_partners_meet_the_gateway_of_everyone_at_two_doors(exchange: Any) -> None:
    ports = {
        listener["Port"]
        for path, listener in exchange.of_type("AWS::ElasticLoadBalancingV2::Listener")
        if "PartnerFront" in path
    }
    assert ports == {443, 8443}
    ((_, fleet),) = [
        (path, group)
        for path, group in exchange.of_type("AWS::AutoScaling::AutoScalingGroup")
        if path.startswith("Gateway/WebSocket")
    ]
    assert sum("PartnerFront" in exchange.text(arn) for arn in fleet["TargetGroupARNs"]) == 2


def test_a_peered_network_reaches_two_ports_and_answers_find_their_way(exchange: Any) -> None:
    peers = exchange.config.partners.peered
    peerings = [peering for _, peering in exchange.of_type("AWS::EC2::VPCPeeringConnection")]
    assert [(p["PeerOwnerId"], p["PeerVpcId"]) for p in peerings] == [(peer.account, peer.vpc_id) for peer in peers]
    routes = [r["DestinationCidrBlock"] for p, r in exchange.of_type("AWS::EC2::Route") if p.startswith("Partners/")]
    assert sorted(routes) == sorted(peer.cidr for peer in peers for _ in range(exchange.config.network.az_count))
    opened = {
        (rule["CidrIp"], rule["FromPort"], rule["ToPort"])
        for path, group in exchange.of_type("AWS::EC2::SecurityGroup")
        if path.startswith("Gateway/PartnerFront")
        for rule in group.get("SecurityGroupIngress", [])
    }
    assert opened == {(peer.cidr, port, port) for peer in peers for port in (443, 8443)}


def test_an_empty_list_is_a_closed_door(dev: Any) -> None:
    assert (dev.config.partners.market_makers, dev.config.partners.peered) == ((), ())
    for kind in ("VPCPeeringConnection", "VPCEndpointServicePermissions"):
        assert list(dev.of_type(f"AWS::EC2::{kind}")) == []
    assert list(dev.of_type("AWS::RAM::ResourceShare")) == []
