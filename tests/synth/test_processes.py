"""What each process is started with: the contract between the templates and `runtime/`."""

import json
import re
from typing import Any

import pytest

from exchange_constructs.instance import leave_group
from runtime.gateway.parts import GatewaySettings
from runtime.shared.catalogue import read_catalogue

COMMON = {"SERVICE", "LISTEN_HOST", "LISTEN_PORT", "CATALOGUE_PARAMETER"}
WALLET = {
    *("ADDRESS_TABLE", "DEPOSIT_CHAINS", "DEPOSIT_TABLE"),
    *("WITHDRAWAL_FUNCTION", "WITHDRAWAL_RULES", "WITHDRAWAL_TABLE"),
}
GATEWAY = {"ENGINE_ADDRESS", "MARKET_DATA_ADDRESS", "DATABASE_URL", "API_KEY_TABLE", "VALKEY_URL", "VALKEY_CACHE"}
TELEMETRY = {"OTLP_ADDRESS", "TRACE_ONE_IN"}
CONTRACT = {
    "engine": (
        "runtime.engine.main",
        7001,
        {"GROUP", "JOURNAL_CLUSTER_ARN", "SNAPSHOT_BUCKET", "ARCHIVE_BUCKET", "LEASE_TABLE"},
    ),
    "market_data": ("runtime.market_data.main", 7002, {"ENGINE_ADDRESS", "DATABASE_URL", "TRADE_STREAM"} | TELEMETRY),
    "ledger": (
        "runtime.ledger.main",
        7003,
        {"ENGINE_ADDRESS", "DATABASE_URL", "MIGRATOR_FUNCTION", "PRICE_MONTHS"} | TELEMETRY,
    ),
    "deposits_ethereum": (
        "runtime.chain.main",
        7020,
        {
            "CHAIN",
            "CHAIN_ASSETS",
            "NODE_ADDRESSES",
            "EXTENDED_PUBLIC_KEY",
            "ENGINE_ADDRESS",
            "ADDRESS_TABLE",
            "DEPOSIT_TABLE",
            "EVENT_BUS",
        },
    ),
    "price_feed": (
        "runtime.price_feed.main",
        7004,
        {"ENGINE_ADDRESS", "EVENT_BUS", "REFERENCE_SYMBOLS", "VENUE_URLS"},
    ),
    "rest": ("runtime.gateway.rest", 8080, GATEWAY | WALLET | TELEMETRY),
    "fix": ("runtime.fix.main", 8083, set()),
    "ws": ("runtime.gateway.ws", 8081, GATEWAY | {"AWS_DEFAULT_REGION"}),
}
FARGATE = ("engine", "market_data", "ledger", "rest", "fix", "deposits_ethereum", "price_feed")


def containers(exchange: Any) -> dict[str, dict[str, Any]]:
    """Return the container of each Fargate service of ours, its environment as text."""
    found = {}
    for path, task in exchange.of_type("AWS::ECS::TaskDefinition"):
        if path.startswith("Telemetry/"):  # the collector is not ours
            continue
        (container,) = task["ContainerDefinitions"]
        variables = {entry["Name"]: exchange.text(entry["Value"]) for entry in container["Environment"]}
        found[variables["SERVICE"]] = container | {"Environment": variables, "Task": task}
    return found


def user_data(exchange: Any) -> str:
    (template,) = [each for path, each in exchange.of_type("AWS::EC2::LaunchTemplate") if path.startswith("Gateway/")]
    return exchange.text(template["LaunchTemplateData"]["UserData"])


def descriptor(exchange: Any) -> dict[str, Any]:
    """Return the service descriptor of the instances, as the boot script writes it."""
    written = re.search(
        r"^cat > /etc/bursa/service\.json <<'(\w+)'\n(.*?)\n\1$", user_data(exchange), re.MULTILINE | re.DOTALL
    )
    assert written
    return json.loads(written[2])


def test_every_service_and_no_other_is_started(exchange: Any) -> None:
    chains = {f"deposits_{chain.name}" for chain in exchange.config.nodes.chains}
    assert set(containers(exchange)) == {*FARGATE, *chains}
    assert descriptor(exchange)["service"] == "ws"


@pytest.mark.parametrize("service", FARGATE)
def test_a_task_is_started_as_its_service_expects(exchange: Any, service: str) -> None:
    module, port, own = CONTRACT[service]
    container = containers(exchange)[service]
    assert container["Command"] == ["python", "-m", module]
    assert set(container["Environment"]) == COMMON | own
    assert container["Environment"]["LISTEN_HOST"] == "0.0.0.0"
    assert container["Environment"]["LISTEN_PORT"] == str(port)
    assert [mapping["ContainerPort"] for mapping in container["PortMappings"]] == [port]
    assert container["HealthCheck"]["Command"][1:] == ["python", "-m", "runtime.shared.health", "127.0.0.1", str(port)]


def test_an_instance_is_started_as_its_service_expects(exchange: Any) -> None:
    module, port, own = CONTRACT["ws"]
    service = descriptor(exchange)
    assert service["command"] == ["python", "-m", module]
    assert service["ports"] == [port]
    assert set(service["environment"]) == COMMON | own
    assert service["environment"]["LISTEN_PORT"] == str(port)
    assert service["environment"]["AWS_DEFAULT_REGION"] == exchange.config.region


def test_variables_point_at_what_they_name(exchange: Any) -> None:
    engine = containers(exchange)["engine"]["Environment"]
    assert engine["GROUP"] == "main"
    assert re.fullmatch(r"<Data/Journal\w+\.Arn>", engine["JOURNAL_CLUSTER_ARN"])
    assert re.fullmatch(r"<SnapshotsBucket\w+>", engine["SNAPSHOT_BUCKET"])
    assert re.fullmatch(r"<Archive\w+>", engine["ARCHIVE_BUCKET"])
    assert re.fullmatch(r"<Leases\w+>", engine["LEASE_TABLE"])
    for service in ("rest", "ws"):
        variables = descriptor(exchange) if service == "ws" else containers(exchange)[service]
        variables = {key.upper(): value for key, value in variables.items()}["ENVIRONMENT"]
        assert variables["ENGINE_ADDRESS"] == "engine.bursa.internal:7001"
        assert variables["MARKET_DATA_ADDRESS"] == "market-data.bursa.internal:7002"
        writer = r"<Data/DatabaseCluster\w+\.Endpoint\.Address>:<Data/DatabaseCluster\w+\.Endpoint\.Port>"
        assert re.fullmatch(rf"postgresql://ledger_reader@{writer}/bursa", variables["DATABASE_URL"])
        assert re.fullmatch(r"<Data/ApiKeysTable\w+>", variables["API_KEY_TABLE"])
        ((_, cache),) = exchange.of_type("AWS::ElastiCache::ServerlessCache")
        ((_, user),) = exchange.of_type("AWS::ElastiCache::User")
        endpoint = r"<Data/Cache\w+\.Endpoint\.Address>:<Data/Cache\w+\.Endpoint\.Port>"
        assert re.fullmatch(rf"rediss://{user['UserName']}@{endpoint}", variables["VALKEY_URL"])
        assert variables["VALKEY_CACHE"] == cache["ServerlessCacheName"]
    market_data = containers(exchange)["market_data"]["Environment"]
    assert re.fullmatch(r"<Data/TradesStream\w+>", market_data["TRADE_STREAM"])
    for variables in (market_data, containers(exchange)["ledger"]["Environment"]):
        assert variables["ENGINE_ADDRESS"] == "engine.bursa.internal:7001"


def test_every_address_is_a_name_and_port_that_a_service_has(exchange: Any) -> None:
    ((_, namespace),) = exchange.of_type("AWS::ServiceDiscovery::PrivateDnsNamespace")
    names = {properties["Name"] for _, properties in exchange.of_type("AWS::ServiceDiscovery::Service")}
    known = {f"{service.replace('_', '-')}:{port}" for service, (_, port, _) in CONTRACT.items()}
    everywhere = [descriptor(exchange)["environment"]]
    everywhere += [container["Environment"] for container in containers(exchange).values()]
    for variables in everywhere:
        for variable in variables.keys() & {"ENGINE_ADDRESS", "MARKET_DATA_ADDRESS"}:
            name, _, rest = variables[variable].partition(".")
            zone, _, port = rest.partition(":")
            assert zone == namespace["Name"]
            assert name in names
            assert f"{name}:{port}" in known


def test_the_catalogue_is_what_every_process_reads(exchange: Any) -> None:
    ((path, parameter),) = [each for each in exchange.of_type("AWS::SSM::Parameter") if each[0].startswith("Data/")]
    assert read_catalogue(parameter["Value"], path) == exchange.config.catalogue
    names = {container["Environment"]["CATALOGUE_PARAMETER"] for container in containers(exchange).values()}
    assert names | {descriptor(exchange)["environment"]["CATALOGUE_PARAMETER"]} == {f"<{path}>"}


@pytest.mark.parametrize("service", FARGATE)
def test_a_task_cannot_change_itself(exchange: Any, service: str) -> None:
    container = containers(exchange)[service]
    assert container["ReadonlyRootFilesystem"] is True
    assert container["User"] == "10001:10001"
    assert container["LinuxParameters"]["Capabilities"]["Drop"] == ["ALL"]
    assert not container.get("Privileged", False)
    assert container["Task"]["RuntimePlatform"]["CpuArchitecture"] == "ARM64"


def test_a_failed_deployment_is_rolled_back_and_a_single_task_is_never_doubled(exchange: Any) -> None:
    services = list(exchange.of_type("AWS::ECS::Service"))
    assert len(services) == len(containers(exchange)) + 1, "and the collector"
    for path, service in services:
        deployment = service["DeploymentConfiguration"]
        assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}, path
        spread = service.get("AvailabilityZoneRebalancing")
        if not path.startswith("Telemetry/"):  # a stack that most leave off
            assert (spread == "ENABLED") is (deployment["MaximumPercent"] == 200), f"{path}: a zone may hold all tasks"
        if path.startswith(("Engine/", "Gateway/Fix", "Telemetry/")):  # they hand over, or hold nothing
            assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (100, 200), path
        elif service["DesiredCount"] == 1:
            assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100), path
        else:
            assert deployment["MinimumHealthyPercent"] >= 50, path
        assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED", path
        assert service.get("EnableExecuteCommand", False) is False, path


def test_the_one_service_that_scales_holds_nothing(exchange: Any) -> None:
    ((path, target),) = exchange.of_type("AWS::ApplicationAutoScaling::ScalableTarget")
    assert path.startswith("Gateway/RestService")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (
        exchange.config.rest.task_count,
        exchange.config.rest.task_count_max,
    )
    ((_, policy),) = exchange.of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
    tracked = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
    assert tracked["ScaleInCooldown"] > tracked["ScaleOutCooldown"]


def test_instances_grow_with_connections_and_with_work(exchange: Any) -> None:
    policies = [each for _, each in exchange.of_type("AWS::AutoScaling::ScalingPolicy")]
    tracked = [each["TargetTrackingConfiguration"] for each in policies]
    (cpu,) = [each for each in tracked if "PredefinedMetricSpecification" in each]
    assert cpu["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ASGAverageCPUUtilization"}
    (connections,) = [each for each in tracked if "CustomizedMetricSpecification" in each]
    assert 0 < connections["TargetValue"] < GatewaySettings.model_fields["connections_max"].default
    flows, instances, each = connections["CustomizedMetricSpecification"]["Metrics"]
    assert flows["MetricStat"]["Metric"]["MetricName"] == "ActiveFlowCount_TLS"
    assert "StreamFrontBalancer" in exchange.text(flows["MetricStat"]["Metric"]["Dimensions"][0]["Value"])
    (group,) = [
        each for path, each in exchange.of_type("AWS::AutoScaling::AutoScalingGroup") if path.startswith("Gateway/")
    ]
    counted = instances["MetricStat"]["Metric"]["MetricName"]
    assert group["MetricsCollection"] == [{"Granularity": "1Minute", "Metrics": [counted]}]  # else nobody measures it
    assert (each["Expression"], each["ReturnData"]) == (f"{flows['Id']} / {instances['Id']}", True)
    assert not flows["ReturnData"]
    assert not instances["ReturnData"]


def test_a_host_that_is_to_end_is_waited_for_and_may_say_so_to_its_own_group_alone(exchange: Any) -> None:
    (hook,) = [each for _, each in exchange.of_type("AWS::AutoScaling::LifecycleHook")]
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["LifecycleHookName"] == leave_group.HOOK
    assert hook["DefaultResult"] == "CONTINUE"
    # Long enough for a host that ends its service, and no longer than that takes with a look at the clock.
    needed_s = leave_group.POLL_S + leave_group.SETTLE_S + leave_group.STOP_S_MAX
    assert needed_s < hook["HeartbeatTimeout"] <= 600
    group = hook["AutoScalingGroupName"]["Ref"]
    statements = [
        (path, statement)
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "autoscaling:" in json.dumps(statement)
    ]
    ((path, statement),) = statements
    assert path.startswith("Gateway/WebSocketLeave")
    assert statement["Action"] == "autoscaling:CompleteLifecycleAction"
    assert statement["Resource"] == {"Fn::GetAtt": [group, "AutoScalingGroupARN"]}
    endpoints = [exchange.text(each["ServiceName"]) for _, each in exchange.of_type("AWS::EC2::VPCEndpoint")]
    assert f"com.amazonaws.{exchange.config.region}.autoscaling" in endpoints, "the host has no other way there"


def test_a_first_host_has_its_grants_before_its_group_exists(exchange: Any) -> None:
    """A policy that knows the group is made after it, so it must not hold what the host needs to start."""
    (grants,) = [
        policy
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Gateway/WebSocketRoleGrants")
    ]
    assert "ssm:GetParameter" in json.dumps(grants)
    assert "AutoScalingGroup" not in json.dumps(grants)


def test_dev_runs_one_engine_and_the_others_a_standby(exchanges: dict[str, Any]) -> None:
    counts = {
        name: next(
            service["DesiredCount"]
            for path, service in exchange.of_type("AWS::ECS::Service")
            if path.startswith("Engine/")
        )
        for name, exchange in exchanges.items()
    }
    assert counts == {"dev": 1, "staging": 2, "prod": 2}


def test_instances_take_only_signed_metadata_requests_and_no_public_address(exchange: Any) -> None:
    (template,) = [each for path, each in exchange.of_type("AWS::EC2::LaunchTemplate") if path.startswith("Gateway/")]
    data = template["LaunchTemplateData"]
    options = data["MetadataOptions"]
    # The tags tell a host the name of its group.
    assert options == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"}
    (interface,) = data["NetworkInterfaces"]
    assert interface["AssociatePublicIpAddress"] is False
    assert "KeyName" not in data
    assert data["InstanceType"].split(".")[0] in {"c6g", "c7g", "c7gn", "c8g", "c8gn"}


def test_no_variable_holds_a_secret(exchange: Any) -> None:
    assert "{{resolve:" not in user_data(exchange)
    for container in containers(exchange).values():
        assert "{{resolve:" not in json.dumps(container["Environment"])
