"""A collector behind a switch: who may send to it, where that goes, and that nothing of it exists while it is off."""

import dataclasses
import json
from typing import Any

import pytest

from config.environments import DEV
from config.model import ConfigError, checked
from exchange_constructs.telemetry_collector import ADDRESS, PORT, collector_configuration
from tests.conftest import Exchange
from tests.synth.test_analytics import is_on

SENDERS = {"rest", "market_data", "ledger"}
ALWAYS = {"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::CDK::Metadata"}


def parts(exchange: Exchange) -> dict[str, Any]:
    resources: dict[str, Any] = exchange.stacks["Telemetry"]["Resources"]
    return resources


def test_everything_but_the_security_group_is_governed_and_off(exchange: Any, turned_on: Exchange) -> None:
    assert not is_on(exchange, "Telemetry", "Collects")
    assert is_on(turned_on, "Telemetry", "Collects")
    free = {each["Type"] for each in parts(exchange).values() if each.get("Condition") != "Collects"}
    assert free <= ALWAYS | {"AWS::CloudWatch::Alarm"}
    governed = {each["Type"] for each in parts(exchange).values() if each.get("Condition") == "Collects"}
    assert {"AWS::APS::Workspace", "AWS::ECS::Service", "AWS::EC2::VPCEndpoint", "AWS::IAM::Role"} <= governed


def test_senders_have_an_address_only_while_it_is_on(exchange: Any, turned_on: Exchange) -> None:
    for read, address in ((exchange, ""), (turned_on, ADDRESS)):
        found = {}
        for _path, task in read.of_type("AWS::ECS::TaskDefinition"):
            variables = {each["Name"]: each["Value"] for each in task["ContainerDefinitions"][0]["Environment"]}
            if "OTLP_ADDRESS" in variables:
                found[variables["SERVICE"]] = variables
        assert found.keys() == SENDERS, "the engine sends nothing"
        assert {each["OTLP_ADDRESS"] for each in found.values()} == {address}
        assert {each["TRACE_ONE_IN"] for each in found.values()} == {str(read.config.monitoring.trace_one_in)}


def test_the_collector_writes_to_its_workspace_and_to_xray_and_nowhere_else(exchange: Any) -> None:
    statements = [
        statement
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Telemetry/CollectorRole")
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    ((workspace_id, workspace),) = [
        (name, each["Properties"]) for name, each in parts(exchange).items() if each["Type"] == "AWS::APS::Workspace"
    ]
    granted = {json.dumps(each["Action"]): each["Resource"] for each in statements}
    assert granted == {
        '"aps:RemoteWrite"': {"Fn::GetAtt": [workspace_id, "Arn"]},
        '["xray:PutTelemetryRecords", "xray:PutTraceSegments"]': "*",
    }
    assert "KmsKeyArn" in workspace
    assert "LogGroupArn" in workspace["LoggingConfiguration"]


def test_what_comes_in_goes_out_signed(exchange: Any) -> None:
    (task,) = [each for path, each in exchange.of_type("AWS::ECS::TaskDefinition") if path.startswith("Telemetry/")]
    (container,) = task["ContainerDefinitions"]
    assert container["Command"] == ["--config=env:COLLECTOR_CONFIG"]
    assert container["ReadonlyRootFilesystem"]
    (variable,) = container["Environment"]
    given = json.loads(exchange.text(variable["Value"]))
    url = given["exporters"]["prometheusremotewrite"]["endpoint"]
    assert url.endswith("api/v1/remote_write")
    assert "PrometheusEndpoint" in json.dumps(variable["Value"])
    assert given == collector_configuration(exchange.config.region, url.removesuffix("api/v1/remote_write"))
    assert given["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == f"0.0.0.0:{PORT}"
    service = given["service"]
    for kind, exporter in (("traces", "awsxray"), ("metrics", "prometheusremotewrite")):
        pipeline = service["pipelines"][kind]
        assert pipeline["exporters"] == [exporter]
        assert pipeline["processors"][0] == "memory_limiter", "before anything is kept"
        # Each part that a pipeline names is declared.
        for place in ("receivers", "processors", "exporters"):
            assert set(pipeline[place]) <= given[place].keys()
    assert set(service["extensions"]) == given["extensions"].keys()


@pytest.mark.parametrize("wrong", [0, 100_001])
def test_a_wrong_value_is_named_with_what_is_allowed(wrong: int) -> None:
    with pytest.raises(ConfigError) as refused:
        checked(dataclasses.replace(DEV, monitoring=dataclasses.replace(DEV.monitoring, trace_one_in=wrong)))
    assert f"monitoring.trace_one_in: must be 1 to 100000, was {wrong}" in str(refused.value)
