"""Who can reach what: one public entry, no way out, every rule between two named groups."""

from typing import Any

ANYWHERE = {"0.0.0.0/0", "::/0"}


def rules(exchange: Any, direction: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every rule of a direction, Ingress or Egress, wherever it stands, with its stack."""
    found = list(exchange.of_type(f"AWS::EC2::SecurityGroup{direction}"))
    for path, group in exchange.of_type("AWS::EC2::SecurityGroup"):
        found += [(path, rule) for rule in group.get(f"SecurityGroup{direction}", [])]
    return found


def test_only_the_websocket_balancer_faces_the_internet(exchange: Any) -> None:
    balancers = {
        path: (balancer["Type"], balancer["Scheme"])
        for path, balancer in exchange.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer")
    }
    assert sorted(balancers.values()) == [
        ("application", "internal"),
        ("network", "internal"),  # partners
        ("network", "internal"),  # nodes
        ("network", "internet-facing"),
    ]
    (public,) = [path for path, (_, scheme) in balancers.items() if scheme == "internet-facing"]
    assert "StreamFront" in public
    open_rules = [(path, rule) for path, rule in rules(exchange, "Ingress") if rule.get("CidrIp") in ANYWHERE]
    assert [(rule["FromPort"], rule["ToPort"], rule["IpProtocol"]) for _, rule in open_rules] == [(443, 443, "tcp")]
    assert "StreamFront" in open_rules[0][0]
    assert all("CidrIpv6" not in rule for _, rule in rules(exchange, "Ingress"))


def test_every_rule_names_one_port_and_a_reason(exchange: Any) -> None:
    for path, rule in rules(exchange, "Ingress"):
        assert rule["IpProtocol"] == "tcp", path
        assert rule["FromPort"] == rule["ToPort"], path
        assert rule.get("Description"), path
        connected = exchange.config.partners
        partners = {partner.cidr for partner in (*connected.peered, *connected.data_centres)}
        networks = {"Custody": exchange.config.custody.cidr, "Nodes": exchange.config.nodes.cidr}
        inside = rule.get("CidrIp") in {
            networks.get(path.split("/")[0], exchange.config.network.cidr),
            *ANYWHERE,
            *partners,
        }
        from_cloudfront = rule.get("SourcePrefixListId") == exchange.config.edge.origin_facing
        assert inside or from_cloudfront or "SourceSecurityGroupId" in rule, path


def test_the_private_balancer_hears_cloudfront_and_nobody_else(exchange: Any) -> None:
    sources = [
        {key: value for key, value in rule.items() if key.startswith(("Source", "Cidr"))}
        for path, rule in rules(exchange, "Ingress")
        if path.startswith("Gateway/RestFront")
    ]
    assert sources == [{"SourcePrefixListId": exchange.config.edge.origin_facing}]


def test_outgoing_traffic_goes_to_a_named_group_or_to_the_endpoints(exchange: Any) -> None:
    for path, rule in rules(exchange, "Egress"):
        if rule.get("CidrIp") == "255.255.255.255/32":
            continue  # CDK's way to say: nothing
        assert rule["IpProtocol"] == "tcp", path
        if path.startswith("Nodes/") and rule.get("CidrIp") in ANYWHERE:
            assert rule["FromPort"] == rule["ToPort"], path
            bitcoin = 8333 if exchange.config.name == "prod" else 18333  # the main network, the test network
            assert rule["FromPort"] in ({bitcoin} if "Bitcoin" in path else {9000, 30303}), path  # peers
        elif rule.get("CidrIp") in ANYWHERE:
            assert (rule["FromPort"], rule["ToPort"]) == (443, 443), path
        elif path.startswith("Migration/DatabaseCopy"):  # the copy's address is not known before it runs
            assert rule["CidrIp"] == exchange.config.network.cidr, path
        else:
            assert "DestinationSecurityGroupId" in rule, path


def test_services_and_stores_have_no_route_out(exchange: Any) -> None:
    """What may go out, and how, is told in `test_perimeter.py`."""
    routes = [
        route
        for path, route in exchange.of_type("AWS::EC2::Route")
        if "VpcPeeringConnectionId" not in route and not path.startswith("Nodes/")  # nodes have peers
    ]
    tables = [exchange.text(route["RouteTableId"]) for route in routes]
    assert tables
    assert not [table for table in tables if "ApplicationSubnet" in table or "DataSubnet" in table]
    assert list(exchange.of_type("AWS::EC2::EgressOnlyInternetGateway")) == []


def test_every_group_is_chosen_and_none_is_the_default_one(exchange: Any) -> None:
    for path, service in exchange.of_type("AWS::ECS::Service"):
        assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["SecurityGroups"], path
    for path, endpoint in exchange.of_type("AWS::EC2::VPCEndpoint"):
        assert endpoint["VpcEndpointType"] == "Gateway" or endpoint["SecurityGroupIds"], path
    for path, cluster in exchange.of_type("AWS::RDS::DBCluster"):
        assert cluster["VpcSecurityGroupIds"], path
    for path, cache in exchange.of_type("AWS::ElastiCache::ServerlessCache"):
        assert cache["SecurityGroupIds"], path
    for path, balancer in exchange.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        assert balancer["SecurityGroups"], path
    assert "DefaultSecurityGroup" not in str(exchange.stacks)


def test_services_run_in_the_application_tier_and_data_lies_in_its_own(exchange: Any) -> None:
    for path, service in exchange.of_type("AWS::ECS::Service"):
        subnets = service["NetworkConfiguration"]["AwsvpcConfiguration"]["Subnets"]
        tier = "EgressSubnet" if path.startswith("PriceFeed/") else "ApplicationSubnet"
        assert all(tier in exchange.text(subnet) for subnet in subnets), path
    for path, group in exchange.of_type("AWS::AutoScaling::AutoScalingGroup"):
        assert all("ApplicationSubnet" in exchange.text(subnet) for subnet in group["VPCZoneIdentifier"]), path
    for path, group in exchange.of_type("AWS::RDS::DBSubnetGroup"):
        assert all("DataSubnet" in exchange.text(subnet) for subnet in group["SubnetIds"]), path
    for path, cache in exchange.of_type("AWS::ElastiCache::ServerlessCache"):
        assert all("DataSubnet" in exchange.text(subnet) for subnet in cache["SubnetIds"]), path


def test_zones_are_those_of_the_region(exchange: Any) -> None:
    zones = {subnet["AvailabilityZone"] for _, subnet in exchange.of_type("AWS::EC2::Subnet")}
    assert zones == {f"{exchange.config.region}{zone}" for zone in "abc"[: exchange.config.network.az_count]}
    assert not any(subnet["MapPublicIpOnLaunch"] for _, subnet in exchange.of_type("AWS::EC2::Subnet"))


def test_clients_speak_tls_only(exchange: Any) -> None:
    listeners = {
        path: (listener["Protocol"], listener["Port"], listener["SslPolicy"])
        for path, listener in exchange.of_type("AWS::ElasticLoadBalancingV2::Listener")
        if not path.startswith("Nodes/")  # whose one client is the watcher: `test_chain.py`
    }
    assert sorted(protocol for protocol, _, _ in listeners.values()) == ["HTTPS", "TLS", "TLS", "TLS", "TLS"]
    for path, (_, port, policy) in listeners.items():
        doors = {"MarketData": 8443, "Fix": 9443} if "PartnerFront" in path else {}
        assert port == next((door for name, door in doors.items() if name in path), 443), path
        assert policy.startswith("ELBSecurityPolicy-TLS13"), path


def attributes(resource: dict[str, Any], kind: str) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in resource[kind]}


def test_the_websocket_gateway_sees_the_clients_address_and_drains_slowly(exchange: Any) -> None:
    groups = {
        group["Protocol"]: group
        for path, group in exchange.of_type("AWS::ElasticLoadBalancingV2::TargetGroup")
        if group["TargetType"] != "lambda" and "FixTasks" not in path and not path.startswith("Nodes/")
    }
    wanted = attributes(groups["TCP"], "TargetGroupAttributes")
    assert wanted["preserve_client_ip.enabled"] == "true"
    assert int(wanted["deregistration_delay.timeout_seconds"]) >= 60
    assert {group["HealthCheckPath"] for group in groups.values()} == {"/healthz"}


def test_the_public_balancer_keeps_one_address_in_each_zone(exchange: Any) -> None:
    (balancer,) = [
        each
        for _, each in exchange.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer")
        if each["Scheme"] == "internet-facing"
    ]
    ours = {path.split("/")[1]: each for path, each in exchange.resources() if path.startswith("Gateway/")}
    held = {mapping["AllocationId"]["Fn::GetAtt"][0] for mapping in balancer["SubnetMappings"]}
    assert held == {name for name, each in ours.items() if each["Type"] == "AWS::EC2::EIP"}
    subnets = {exchange.text(mapping["SubnetId"]) for mapping in balancer["SubnetMappings"]}
    assert len(held) == len(subnets) == exchange.config.network.az_count
    assert "Subnets" not in balancer
    kept = "Retain" if exchange.config.retained else "Delete"
    assert {ours[name]["DeletionPolicy"] for name in held} == {kept}


def test_rest_and_sign_in_stand_behind_a_web_firewall_each(exchange: Any) -> None:
    """Its rules are told in `test_edge.py`."""
    protected = {
        path.split("/")[0]: (exchange.text(association["ResourceArn"]), exchange.text(association["WebACLArn"]))
        for path, association in exchange.of_type("AWS::WAFv2::WebACLAssociation")
    }
    assert protected.keys() == {"Gateway", "Onboarding"}
    assert "RestFrontBalancer" in protected["Gateway"][0]
    assert "CustomersPool" in protected["Onboarding"][0]
    assert all("FirewallAcl" in acl for _, acl in protected.values())


def test_balancers_refuse_bad_headers_and_cannot_be_deleted_by_mistake(exchange: Any) -> None:
    for path, balancer in exchange.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer"):
        given = attributes(balancer, "LoadBalancerAttributes")
        assert given["deletion_protection.enabled"] == "true", path
        assert given["access_logs.s3.enabled"] == "true", path
        assert given["zonal_shift.config.enabled"] == "true", path  # else a zone that is ill cannot be left
        if balancer["Type"] == "application":
            assert given["routing.http.drop_invalid_header_fields.enabled"] == "true"
