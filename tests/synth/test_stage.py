"""The assembly as a whole: made from the repository alone, the same structure everywhere, no stack waits for itself."""

import json
from typing import Any

DEPLOYED_IN_ORDER = ["Foundation", "Network", "Data", "Engine", "MarketData", "Ledger", "Gateway", "Observability"]


def test_synth_asks_nobody(exchange: Any) -> None:
    text = (exchange.folder / "manifest.json").read_text()
    assert "missing" not in json.loads(text)
    assert "dummy1" not in text + json.dumps(exchange.stacks)


def test_there_is_no_custom_resource_and_no_function(exchange: Any) -> None:
    helpers = [
        path
        for path, resource in exchange.resources()
        if resource["Type"].startswith(("Custom::", "AWS::CloudFormation::Custom", "AWS::Lambda::"))
    ]
    assert helpers == []


def test_stacks_refer_to_each_other_weakly(exchange: Any) -> None:
    text = json.dumps(exchange.stacks)
    assert "Fn::GetStackOutput" in text
    assert "Fn::ImportValue" not in text
    outputs = [output for stack in exchange.stacks.values() for output in stack.get("Outputs", {}).values()]
    assert outputs
    assert [output for output in outputs if "Export" in output] == []


def test_a_stack_uses_only_stacks_before_it(exchange: Any) -> None:
    for position, name in enumerate(DEPLOYED_IN_ORDER):
        text = json.dumps(exchange.stacks[name])
        later = [other for other in DEPLOYED_IN_ORDER[position:] if f'"{exchange.stage}-{other}"' in text]
        assert later == [], name
    assert sorted(exchange.stacks) == sorted(DEPLOYED_IN_ORDER)


def structure(exchange: Any) -> set[tuple[str, str]]:
    """Ids and types, without what is counted (zones, readers) and without the journal, the one exception.

    CDK puts the Stage's name into the ids of firewall rules, so those go by what they say.
    """
    return {
        (
            resource["Properties"]["Description"]
            if "SecurityGroup" in resource["Type"] and "Description" in resource["Properties"]
            else path,
            resource["Type"],
        )
        for path, resource in exchange.resources()
        if not path.startswith(("Network/", "Data/Journal", "Data/DatabaseClusterReader"))
        and not path.startswith("Observability/")  # checked below: alarms of the journal exist where its metric does
    }


def test_environments_differ_in_values_not_in_structure(exchanges: dict[str, Any]) -> None:
    assert structure(exchanges["dev"]) == structure(exchanges["staging"]) == structure(exchanges["prod"])


def test_only_the_journal_has_alarms_that_not_every_environment_has(exchanges: dict[str, Any]) -> None:
    def alarms(name: str) -> set[str]:
        return {
            properties["AlarmName"].removeprefix(f"Bursa-{name}-")
            for _, properties in exchanges[name].of_type("AWS::CloudWatch::Alarm")
        }

    assert alarms("staging") == alarms("prod")
    assert {name for name in alarms("prod") - alarms("dev") if "journal" not in name} == set()
    assert alarms("dev") <= alarms("prod")


def test_every_alarm_calls_the_operators(exchange: Any) -> None:
    alarms = list(exchange.of_type("AWS::CloudWatch::Alarm"))
    assert len(alarms) >= 20
    for path, alarm in alarms:
        assert ["Operators" in exchange.text(action) for action in alarm["AlarmActions"]] == [True], path
        assert alarm.get("ActionsEnabled", True), path


def test_what_is_stored_and_what_faces_clients_has_an_alarm(exchange: Any) -> None:
    watched = " ".join(alarm["AlarmName"] for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm"))
    names = ["stream-balancer", "rest-balancer", "database", "cache", "api-keys", "trades", "undelivered-events"]
    names += ["engine", "market_data", "ledger", "rest"]
    assert [name for name in names if name not in watched] == []
