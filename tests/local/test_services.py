"""From declarations to processes: exactly what the template says, and what it must not lack."""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud, StandIns
from local.deploy import Deployment, Resource
from local.providers import Placed, Wanted
from local.services import Injected, Service, ServiceError, declared, programs, startable
from tests.local.world import REGION

ENGINE = {
    "SERVICE": "engine",
    "LISTEN_HOST": "0.0.0.0",
    "LISTEN_PORT": "7001",
    "JOURNAL_CLUSTER_ARN": "arn:aws:kafka:r:a:cluster/j/1",
    "SNAPSHOT_BUCKET": "snapshots",
    "ARCHIVE_BUCKET": "archive",
}
REST = {
    "SERVICE": "rest",
    "LISTEN_HOST": "0.0.0.0",
    "LISTEN_PORT": "8080",
    "ENGINE_ADDRESS": "engine.bursa.internal:7001",
    "VALKEY_URL": "rediss://dev-gateways@127.0.0.1:6390",
}


class World:
    """A deployment made by hand."""

    def __init__(self) -> None:
        self.deployment = Deployment()
        self.add("Zone", "AWS::ServiceDiscovery::PrivateDnsNamespace", {"Name": "bursa.internal"})
        self.add(
            "Tasks",
            "AWS::ElasticLoadBalancingV2::TargetGroup",
            {"Protocol": "HTTP", "HealthCheckPath": "/healthz"},
        )

    def add(self, logical_id: str, type_name: str, properties: dict[str, Any]) -> None:
        wanted = Wanted(stack="S", logical_id=logical_id, type=type_name, region=REGION, properties=properties)
        placed = Placed(logical_id, {"Arn": f"arn:{logical_id}"})
        self.deployment.resources[wanted.path] = Resource(wanted, placed, "real")

    def fargate(self, environment: dict[str, str], *, count: int = 1, **container: Any) -> None:
        name = environment.get("SERVICE", "nameless")
        port = int(environment.get("LISTEN_PORT", "1"))
        process = {
            "Name": "Process",
            "Command": ["python", "-m", f"runtime.{name}.main"],
            "Environment": [{"Name": key, "Value": value} for key, value in environment.items()],
            "PortMappings": [{"ContainerPort": port}],
            **container,
        }
        self.add(
            f"{name}Task",
            "AWS::ECS::TaskDefinition",
            {"ContainerDefinitions": [process], "TaskRoleArn": f"arn:{name}Role"},
        )
        self.add(f"{name}Name", "AWS::ServiceDiscovery::Service", {"Name": name, "DnsConfig": {"NamespaceId": "Zone"}})
        balancers = [{"TargetGroupArn": "Tasks"}] if name == "rest" else []
        self.add(
            f"{name}Service",
            "AWS::ECS::Service",
            {
                "TaskDefinition": f"{name}Task",
                "DesiredCount": count,
                "LoadBalancers": balancers,
                "ServiceRegistries": [{"RegistryArn": f"arn:{name}Name"}],
            },
        )

    def instances(self, script: str) -> None:
        self.add("Role", "AWS::IAM::Role", {})
        self.add("Profile", "AWS::IAM::InstanceProfile", {"Roles": ["Role"]})
        user_data = base64.b64encode(script.encode()).decode()
        data = {"LaunchTemplateData": {"UserData": user_data, "IamInstanceProfile": {"Arn": "arn:Profile"}}}
        self.add("Template", "AWS::EC2::LaunchTemplate", data)
        self.add(
            "Group",
            "AWS::AutoScaling::AutoScalingGroup",
            {"LaunchTemplate": {"LaunchTemplateId": "Template"}, "MinSize": "2", "TargetGroupARNs": ["Tasks"]},
        )


@pytest.fixture
def world() -> World:
    return World()


def descriptor(**more: Any) -> str:
    document = {
        "service": "ws",
        "command": ["python", "-m", "runtime.gateway.ws"],
        "environment": {"SERVICE": "ws", "LISTEN_PORT": "8081"},
        "ports": [8081],
        **more,
    }
    return f"#!/bin/bash\ncat > /etc/bursa/service.json <<'END'\n{json.dumps(document)}\nEND\nsystemctl start bursa\n"


def test_services_are_read_from_tasks_and_from_launch_templates(world: World) -> None:
    world.fargate(ENGINE)
    world.instances(descriptor())
    engine, ws = declared(world.deployment)
    assert engine == Service(
        name="engine",
        path="S/engineTask",
        command=("python", "-m", "runtime.engine.main"),
        environment={**ENGINE, "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION},
        port=7001,
        count=1,
        hosts=("engine.bursa.internal",),
        role="arn:engineRole",
        region=REGION,
    )
    assert (ws.name, ws.count, ws.port, ws.health_path, ws.role) == ("ws", 2, 8081, "/healthz", "arn:Role")
    assert not [name for name in ws.environment if "REGION" in name], "nobody tells an instance, so its template must"


Mutate = Callable[[World], None]


@pytest.mark.parametrize(
    ("mutate", "complaint"),
    [
        (lambda w: w.fargate(ENGINE, Command=["java", "-jar", "x"]), r"S/engineTask: its command must be `python -m"),
        (lambda w: w.fargate(ENGINE, Command=[]), "its command must be"),
        (lambda w: w.fargate(ENGINE, Command=["python", "-m", "http.server"]), "only modules of runtime/"),
        (lambda w: w.fargate({"LISTEN_PORT": "1"}), "no SERVICE"),
        (lambda w: w.fargate(ENGINE, PortMappings=[]), r"it maps \[\] and LISTEN_PORT is 7001"),
        (lambda w: w.fargate(ENGINE, PortMappings=[{"ContainerPort": 7002}]), r"it maps \[7002\] and LISTEN_PORT"),
        (lambda w: w.instances("#!/bin/bash\nreboot\n"), "S/Template: user data writes 0 service descriptors"),
        (lambda w: w.instances(descriptor() + descriptor()), "writes 2 service descriptors"),
        (lambda w: w.instances(descriptor(environment={"SERVICE": "engine"})) or w.fargate(ENGINE), "engine; SERVICE"),
    ],
)
def test_what_cannot_be_started_is_named(world: World, mutate: Mutate, complaint: str) -> None:
    mutate(world)
    with pytest.raises(ServiceError, match=complaint):
        declared(world.deployment)


@pytest.fixture
def injected(cloud: Cloud, tmp_path: Path) -> Injected:
    cloud.stand_ins = StandIns(("127.0.0.1", 1), ("127.0.0.1", 6390))
    return Injected(cloud=cloud, state=tmp_path, ports={"engine": [41], "rest": [42, 43]})


def test_a_process_gets_what_its_template_declares_and_what_only_the_launcher_knows(
    world: World, injected: Injected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("DATABASE_URL", "mine")
    world.fargate(ENGINE)
    world.fargate(REST, count=2)
    steps = programs(declared(world.deployment), injected)
    assert [[program.name for program in step] for step in steps] == [["engine"], ["rest-1", "rest-2"]]
    engine, rest = steps[0][0], steps[1][1]
    assert engine.command == (sys.executable, "-m", "runtime.engine.main")
    expected = {**ENGINE, "LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": "41", "STATE_DIR": str(injected.state)}
    assert expected.items() <= engine.environment.items()
    assert rest.environment["ENGINE_ADDRESS"] == "127.0.0.1:41"
    assert rest.environment["VALKEY_URL"] == "redis://127.0.0.1:6390"
    assert rest.environment["TRUSTED_PROXY"] == "127.0.0.1"
    assert rest.environment["LISTEN_PORT"] == "43"
    assert rest.address == "127.0.0.1:43"
    for program in (engine, rest):
        assert program.environment["AWS_ENDPOINT_URL"] == injected.cloud.url
        assert program.environment["AWS_REGION"] == program.environment["AWS_DEFAULT_REGION"] == REGION
        assert not {"AWS_PROFILE", "DATABASE_URL"} & program.environment.keys(), "nothing of the user's own"
    assert engine.environment["AWS_ACCESS_KEY_ID"] != rest.environment["AWS_ACCESS_KEY_ID"]
    assert {"STATE_DIR", "TRUSTED_PROXY"} & (engine.environment.keys() & rest.environment.keys()) == set()


def test_what_a_template_lacks_is_not_added(world: World, injected: Injected) -> None:
    lacking = {key: value for key, value in ENGINE.items() if not key.startswith(("LISTEN", "JOURNAL"))}
    world.fargate(lacking)
    ((program,),) = programs(declared(world.deployment), injected)
    assert not {"LISTEN_HOST", "LISTEN_PORT", "STATE_DIR", "CATALOGUE_PARAMETER"} & program.environment.keys()


def test_an_address_that_no_service_registers_is_named(world: World, injected: Injected) -> None:
    world.fargate(ENGINE)
    world.fargate({**REST, "ENGINE_ADDRESS": "motor.bursa.internal:7001"})
    with pytest.raises(ServiceError, match=r"ENGINE_ADDRESS names motor\.bursa\.internal:7001"):
        programs(declared(world.deployment), injected)
    world.fargate({**REST, "ENGINE_ADDRESS": "engine.bursa.internal:7999"})
    with pytest.raises(ServiceError, match=r"names engine\.bursa\.internal:7999"):
        programs(declared(world.deployment), injected)


def test_secrets_are_fetched_by_key_stage_and_version(world: World, injected: Injected) -> None:
    cloud = injected.cloud
    secrets, ssm = cloud.client("secretsmanager"), cloud.client("ssm")
    made = secrets.create_secret(Name="login", SecretString='{"user": "a"}')
    put = secrets.put_secret_value(SecretId="login", SecretString='{"user": "b"}')
    ssm.put_parameter(Name="/p", Value="v", Type="SecureString")
    arn = made["ARN"]
    sources = {
        "WHOLE": arn,
        "KEY": f"{arn}:user::",
        "PREVIOUS": f"{arn}:user:AWSPREVIOUS:",
        "VERSION": f"{arn}:user::{put['VersionId']}",
        "PARAMETER": f"arn:aws:ssm:{REGION}:123456789012:parameter/p",
        "NAMED": "/p",
    }
    world.fargate(ENGINE, Secrets=[{"Name": name, "ValueFrom": source} for name, source in sources.items()])
    ((program,),) = programs(declared(world.deployment), injected)
    found = {name: program.environment[name] for name in sources}
    assert found == {
        "WHOLE": '{"user": "b"}',
        "KEY": "b",
        "PREVIOUS": "a",
        "VERSION": "b",
        "PARAMETER": "v",
        "NAMED": "v",
    }


def test_services_of_a_chain_that_is_not_simulated_are_not_started() -> None:
    def service(name: str, **environment: str) -> Service:
        return Service(name=name, path=name, command=("true",), environment=environment, port=1, count=1, region=REGION)

    working, absent = startable(
        [
            service("engine"),
            service("watcher-a", CHAIN="ethereum"),
            service("node-a", CHAIN="ethereum", NETWORK="31337"),
            service("watcher-b", CHAIN="bitcoin"),
            service("node-b", CHAIN="bitcoin", NETWORK="test"),
        ]
    )
    assert [each.name for each in working] == ["engine", "watcher-a", "node-a"]
    assert [each.name for each in absent] == ["watcher-b", "node-b"]
    other = service("node-a", CHAIN="ethereum", NETWORK="11155111")
    assert startable([service("watcher-a", CHAIN="ethereum"), other])[0] == []
