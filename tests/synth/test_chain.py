"""Nodes and watchers: what stays when a host goes, who asks, and that nobody believes one node alone."""

import base64
import json
import re
from typing import Any

from config.nodes import PROGRAMS
from exchange_constructs.node_service import node_ports

SIDECAR_PORT = 8600


def of_nodes(exchange: Any, kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(path, each) for path, each in exchange.of_type(kind) if path.startswith("Nodes/")]


def builds(exchange: Any) -> list[Any]:
    return [build for chain in exchange.config.nodes.chains for build in chain.builds]


def user_data(exchange: Any, template: dict[str, Any]) -> str:
    text = exchange.text(template["LaunchTemplateData"]["UserData"])
    return text if text.startswith("#!") else base64.b64decode(text).decode()


def test_each_build_is_a_group_of_one_host_in_the_zone_of_its_disk(exchange: Any) -> None:
    groups = of_nodes(exchange, "AWS::AutoScaling::AutoScalingGroup")
    disks = of_nodes(exchange, "AWS::EC2::Volume")
    assert len(groups) == len(disks) == len(builds(exchange))
    for path, group in groups:
        assert (group["MinSize"], group["MaxSize"]) == ("1", "1"), path
        assert len(group["VPCZoneIdentifier"]) == 1, path
    for chain in exchange.config.nodes.chains:
        zones = {disk["AvailabilityZone"] for path, disk in disks if chain.name.title() in path}
        assert len(zones) == len(chain.builds), "a lost zone must leave a node"


def test_a_disk_is_encrypted_kept_in_prod_and_copied(exchange: Any) -> None:
    disks = {
        path: resource
        for path, resource in exchange.resources()
        if resource["Type"] == "AWS::EC2::Volume" and path.startswith("Nodes/")
    }
    for path, disk in disks.items():
        assert disk["Properties"]["Encrypted"] is True, path
        assert disk["DeletionPolicy"] == ("Retain" if exchange.config.retained else "Delete"), path
    ((_, selection),) = of_nodes(exchange, "AWS::Backup::BackupSelection")
    assert len(selection["BackupSelection"]["Resources"]) == len(disks)


def test_a_host_boots_without_keys_and_starts_no_program_but_the_configured_one(exchange: Any) -> None:
    for path, template in of_nodes(exchange, "AWS::EC2::LaunchTemplate"):
        data = template["LaunchTemplateData"]
        assert "KeyName" not in data, path
        assert data["MetadataOptions"]["HttpTokens"] == "required", path
        assert data["ImageId"].startswith("ami-"), path
        script = user_data(exchange, template)
        check = script.index("sha256sum --check --strict")
        for chain, programs in PROGRAMS.items():
            if chain.title() in path:
                assert all(script.index(f"systemctl enable --now node-{name}") > check for name in programs), path
        assert script.index("attach_disk.sh") < check, path
        assert not re.search(r"dnf|curl [^\n]*https?://(?!169\.254)|pip install", script), path


def test_a_node_listens_on_loopback_and_its_sidecar_is_what_the_balancer_asks(exchange: Any) -> None:
    for path, template in of_nodes(exchange, "AWS::EC2::LaunchTemplate"):
        found = re.search(r"service\.json <<'(\w+)'\n(.*?)\n\1\n", user_data(exchange, template), re.DOTALL)
        assert found, path
        sidecar = json.loads(found[2])
        assert sidecar["command"] == ["python", "-m", "runtime.chain.sidecar"], path
        assert sidecar["ports"] == [SIDECAR_PORT], path
        assert sidecar["environment"]["NODE_ADDRESS"].startswith("127.0.0.1:"), path
    groups = of_nodes(exchange, "AWS::ElasticLoadBalancingV2::TargetGroup")
    assert len(groups) == len(builds(exchange))
    for path, group in groups:
        assert (group["Port"], group["HealthCheckProtocol"], group["HealthCheckPath"]) == (
            SIDECAR_PORT,
            "HTTP",
            "/alive",
        ), path
    for path, group in of_nodes(exchange, "AWS::AutoScaling::AutoScalingGroup"):
        assert group["HealthCheckType"] == "ELB", path  # a host whose sidecar is gone is replaced


def test_only_the_account_of_the_exchange_may_ask_and_only_through_the_service(exchange: Any) -> None:
    ((_, allowed),) = of_nodes(exchange, "AWS::EC2::VPCEndpointServicePermissions")
    (principal,) = allowed["AllowedPrincipals"]
    assert f":{exchange.config.accounts.core}:root" in exchange.text(principal)
    for path, rule in of_nodes(exchange, "AWS::EC2::SecurityGroupIngress"):
        assert "SourceSecurityGroupId" in rule, path
        assert rule["FromPort"] in {SIDECAR_PORT, 443}, path
    for path, group in of_nodes(exchange, "AWS::EC2::SecurityGroup"):
        assert not [rule for rule in group.get("SecurityGroupIngress", []) if "CidrIp" in rule], path


def test_a_watcher_reads_two_nodes_of_different_builds(exchange: Any) -> None:
    listeners = {
        listener["Port"]: exchange.text(listener["DefaultActions"][0]["TargetGroupArn"])
        for _, listener in of_nodes(exchange, "AWS::ElasticLoadBalancingV2::Listener")
    }
    for chain in exchange.config.nodes.chains:
        ports = node_ports(exchange.config.nodes, chain.name)
        assert len(ports) == len(chain.builds) == len({listeners[port] for port in ports})
    for _, task in exchange.of_type("AWS::ECS::TaskDefinition"):
        (container,) = task["ContainerDefinitions"]
        variables = {each["Name"]: exchange.text(each["Value"]) for each in container["Environment"]}
        if variables.get("SERVICE", "").startswith("deposits_"):
            ports = node_ports(exchange.config.nodes, variables["CHAIN"])
            assert variables["NODE_ADDRESSES"] == ",".join(f"nodes.bursa.internal:{port}" for port in ports)


def test_a_standstill_and_a_reversed_credit_wake_somebody(exchange: Any) -> None:
    alarms = {
        alarm["MetricName"]: alarm
        for path, alarm in exchange.of_type("AWS::CloudWatch::Alarm")
        if path.startswith("Deposits/") and alarm.get("Namespace") == "Bursa/Chain"
    }
    for chain in exchange.config.nodes.chains:
        assert alarms[f"AgreedAgeSeconds-{chain.name}"]["TreatMissingData"] == "breaching"
        for name in ("CreditedDepositsReversed", "NodesDisagree", "AgreedAgeSeconds"):
            assert alarms[f"{name}-{chain.name}"]["AlarmName"].endswith("-Page")
