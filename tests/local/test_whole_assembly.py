"""The project's own templates: deployable here as they stand, twice the same, with every service found in them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local.assembly import Assembly, read_assembly
from local.cloud import Cloud, StandIns
from local.delivery.dispatcher import Dispatcher
from local.deploy import NOT_REAL, REAL, DeployError, Deployment, deploy, read_secret
from local.grants.book import IDENTITY, written
from local.grants.guard import Guard
from local.grants.inline import check
from local.resolve import references
from local.services import Injected, ServiceError, declared, programs
from tests.local.world import ACCOUNT, REGION

TIERS = Path(__file__).with_name("tiers.json")
"""Which types are real and which are only recorded. A type moves from one list to the other by a decision alone."""


@pytest.fixture(scope="module")
def assembly(exchanges: dict[str, Any]) -> Assembly:
    return read_assembly(exchanges["dev"].folder.parent, "dev")


@dataclass
class Run:
    """One deployment and its cloud, which still listens."""

    cloud: Cloud
    deployment: Deployment

    def programs(self) -> dict[str, dict[str, str]]:
        """Return the environment of each process."""
        services = declared(self.deployment)
        ports = {service.name: [1000 + at] * service.count for at, service in enumerate(services)}
        steps = programs(services, Injected(cloud=self.cloud, state=Path("/state"), ports=ports))
        return {program.name: dict(program.environment) for step in steps for program in step}

    def identity(self) -> Any:
        """Return every id and every environment, without the cloud's own port, which the URL of a queue holds."""
        ids = {
            path: [each.placed.ref, dict(each.placed.attributes)] for path, each in self.deployment.resources.items()
        }
        return json.loads(json.dumps([ids, self.programs()]).replace(self.cloud.url, "<aws>"))

    def changed(self, type_name: str, change: Callable[[dict[str, Any]], bool]) -> "Run":
        """Return the run as it would be had the template said otherwise in one resource."""
        resources = dict(self.deployment.resources)
        for path, resource in resources.items():
            properties = json.loads(json.dumps(resource.wanted.properties))
            if resource.wanted.type == type_name and change(properties):
                wanted = replace(resource.wanted, properties=properties)
                resources[path] = replace(resource, wanted=wanted)
                return Run(self.cloud, Deployment(resources))
        raise AssertionError("nothing to change")


@pytest.fixture(scope="module")
def runs(assembly: Assembly, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Run]]:
    """Deploy twice, each time into an empty cloud of one installation; yield the first identity and the second run."""
    state = tmp_path_factory.mktemp("cloud")

    def deployed() -> Run:
        addresses = StandIns(("127.0.0.1", 5433), ("127.0.0.1", 6380))
        cloud = Cloud(state, account=ACCOUNT, region=REGION, stand_ins=addresses)
        cloud.start()
        return Run(cloud, deploy(assembly, cloud))

    first = deployed()
    identity = first.identity()
    first.cloud.stop()
    second = deployed()
    yield identity, second
    second.cloud.stop()


def test_two_empty_clouds_end_up_the_same(runs: tuple[Any, Run]) -> None:
    first, second = runs
    assert first == second.identity()


def test_no_type_slips_from_real_to_recorded(runs: tuple[Any, Run]) -> None:
    tiers = {
        tier: sorted(name for name in types if name != "AWS::CDK::Metadata")
        for tier, types in runs[1].deployment.tiers().items()
    }
    assert tiers == json.loads(TIERS.read_text()), f"decide, then `.venv/bin/python -m local tiers` writes {TIERS.name}"
    assert set(tiers[REAL]) & set(tiers[NOT_REAL]) == set()


def test_each_service_is_found_and_its_variables_lead_to_what_is_there(runs: tuple[Any, Run]) -> None:
    run = runs[1]
    processes = run.programs()
    assert {"engine", "market_data", "ledger", "rest", "ws"} <= processes.keys()
    for name in ("rest", "ws"):
        environment = processes[name]
        assert environment["ENGINE_ADDRESS"].startswith("127.0.0.1:")
        assert environment["MARKET_DATA_ADDRESS"] != environment["ENGINE_ADDRESS"]
        assert environment["VALKEY_URL"] == "redis://127.0.0.1:6380"
        table = run.cloud.client("dynamodb").describe_table(TableName=environment["API_KEY_TABLE"])["Table"]
        assert table["KeySchema"] == [{"AttributeName": "api_key", "KeyType": "HASH"}]
    assert processes["ledger"]["DATABASE_URL"] == "postgresql://ledger_writer@127.0.0.1:5433/bursa"
    assert processes["rest"]["DATABASE_URL"] == "postgresql://ledger_reader@127.0.0.1:5433/bursa"
    (secret,) = [
        variables["DATABASE_OWNER_SECRET_ARN"]
        for each in run.deployment.of_type("AWS::Lambda::Function")
        if "DATABASE_OWNER_SECRET_ARN" in (variables := each.wanted.properties["Environment"]["Variables"])
    ]
    login = json.loads(read_secret(run.cloud, secret))
    assert login == dict(zip(("username", "password"), *run.cloud.logins.values(), strict=True))
    stream = run.cloud.client("kinesis").describe_stream_summary(StreamName=processes["market_data"]["TRADE_STREAM"])
    assert stream["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
    assert run.cloud.client("ssm").get_parameter(Name=processes["engine"]["CATALOGUE_PARAMETER"])["Parameter"]["Value"]


def test_mutant_a_removed_variable_is_missing_here_too(runs: tuple[Any, Run]) -> None:
    def without_database(properties: dict[str, Any]) -> bool:
        (container,) = properties["ContainerDefinitions"]
        if {"Name": "SERVICE", "Value": "ledger"} not in container["Environment"]:
            return False
        container["Environment"] = [each for each in container["Environment"] if each["Name"] != "DATABASE_URL"]
        return True

    processes = runs[1].changed("AWS::ECS::TaskDefinition", without_database).programs()
    assert "DATABASE_URL" not in processes["ledger"]
    assert "DATABASE_URL" in processes["rest"]


def test_mutant_a_wrong_port_does_not_start(runs: tuple[Any, Run]) -> None:
    def other_port(properties: dict[str, Any]) -> bool:
        properties["ContainerDefinitions"][0]["PortMappings"][0]["ContainerPort"] = 1
        return True

    with pytest.raises(ServiceError, match="it must map the one port it listens on"):
        runs[1].changed("AWS::ECS::TaskDefinition", other_port).programs()


def test_mutant_a_service_under_another_name_is_not_found(runs: tuple[Any, Run]) -> None:
    def other_name(properties: dict[str, Any]) -> bool:
        was_engine = properties["Name"] == "engine"
        properties["Name"] = "motor"
        return bool(was_engine)

    with pytest.raises(ServiceError, match=r"ENGINE_ADDRESS names engine\.bursa\.internal:7001"):
        runs[1].changed("AWS::ServiceDiscovery::Service", other_name).programs()


def test_everything_that_is_declared_can_be_delivered_and_every_policy_evaluated(
    runs: tuple[Any, Run], tmp_path: Path
) -> None:
    """Before any test with a cloud of its own: the state of moto belongs to the process, and that one empties it."""
    run = runs[1]
    dispatcher = Dispatcher(
        run.deployment, run.cloud, logs=tmp_path, inline=tmp_path, inject=lambda function: function.environment
    )
    functions = dispatcher.functions.values()
    dispatcher.stop()
    assert len(functions) == len(run.deployment.of_type("AWS::Lambda::Function"))
    for function in functions:
        module = function.handler.rpartition(".")[0].replace(".", "/")
        assert function.cannot_run or (function.folder / f"{module}.py").exists(), f"{function.label}: {module}"
    book = written(run.deployment, lambda _arn: {"Statement": []})
    assert {holder for kind, holder, _statement in book.statements() if kind == IDENTITY}
    guard = Guard(book, tmp_path / "grants.jsonl", is_enforced=True)
    check(run.deployment, guard, ACCOUNT)
    guard.close()


def test_mutant_a_reference_to_what_is_not_there_stops_the_run(assembly: Assembly, cloud: Cloud) -> None:
    stack = next(each for each in assembly.stacks if "Fn::GetStackOutput" in json.dumps(each.template))
    wrong = json.loads(json.dumps(stack.template).replace('"OutputName": "', '"OutputName": "X'))
    before = assembly.stacks[: assembly.stacks.index(stack)]
    mutant = Assembly(assembly.stage, (*before, replace(stack, template=wrong)))
    with pytest.raises(DeployError, match=r"has no output 'X\w+' yet"):
        deploy(mutant, cloud)


def test_mutant_a_bus_renamed_in_one_stack_only(assembly: Assembly, cloud: Cloud) -> None:
    """The stack that declares the bus calls it otherwise; whoever refers to it by its old name is told."""
    stack = next(each for each in assembly.stacks if "AWS::Events::EventBus" in json.dumps(each.template))
    name = next(
        each["Properties"]["Name"] for each in stack.resources.values() if each["Type"] == "AWS::Events::EventBus"
    )
    template = json.loads(json.dumps(stack.template))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Events::EventBus":
            resource["Properties"]["Name"] = "Renamed"
    template["Outputs"] = json.loads(json.dumps(template.get("Outputs", {})))
    for output in template["Outputs"].values():
        if "AWS::Events::EventBus" in _types_named(output, template):
            output["Value"] = name
    mutant = tuple(replace(each, template=template) if each is stack else each for each in assembly.stacks)
    with pytest.raises(DeployError, match=r"the embedded AWS answered: .*ResourceNotFoundException"):
        deploy(Assembly(assembly.stage, mutant), cloud)


def _types_named(node: Any, template: dict[str, Any]) -> set[str]:
    return {template["Resources"][name]["Type"] for name in references(node) if name in template["Resources"]}
