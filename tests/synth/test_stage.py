"""The assembly as a whole: made from the repository alone, the same structure everywhere, no stack waits for itself."""

import json
from typing import Any

DEPLOYED_IN_ORDER = [
    "Audit",
    "Foundation",
    "Security",
    "Network",
    "Data",
    "Functions",
    "Engine",
    "Telemetry",
    "MarketData",
    "PriceFeed",
    "Ledger",
    "EdgeStore",
    "Onboarding",
    "Deposits",
    "Withdrawals",
    "Controls",
    "Reconciliation",
    "BusinessMetrics",
    "Liquidity",
    "Gateway",
    "Connectors",
    "Notifications",
    "Partners",
    "Web",
    "Edge",
    "SecurityWeb",
    "SecurityEdge",
    "Canary",
    "Custody",
    "Nodes",
    "Analytics",
    "Surveillance",
    "Reporting",
    "Offboarding",
    "Migration",
    "Backup",
    "Observability",
]


def test_synth_asks_nobody(exchange: Any) -> None:
    text = (exchange.folder / "manifest.json").read_text()
    assert "missing" not in json.loads(text)
    assert "dummy1" not in text + json.dumps(exchange.stacks)


def test_there_is_no_custom_resource_and_every_function_is_ours(exchange: Any) -> None:
    helpers = [
        path
        for path, resource in exchange.resources()
        if resource["Type"].startswith(("Custom::", "AWS::CloudFormation::Custom"))
        or (
            resource["Type"] == "AWS::Lambda::Function"
            and not str(resource["Properties"]["Handler"]).startswith("runtime.")
        )
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
    # Each further account has its own baseline.
    further = {f"Security{part.title()}" for part in exchange.config.accounts.distinct()} - {"SecurityCore"}
    assert set(exchange.stacks) == {*DEPLOYED_IN_ORDER, *further}


def structure(exchange: Any) -> set[tuple[str, str]]:
    """Ids and types, without what is counted (zones, readers, chains) and without the journal, the one exception.

    CDK puts the Stage's name into the ids of firewall rules, alarms and permissions, so those go by what they say.
    """
    return {
        (_identity(exchange, path, resource), resource["Type"])
        for path, resource in exchange.resources()
        if not path.startswith(
            (
                "Network/",
                "Custody/NetworkVpc",
                "SecurityWallet/",
                "SecurityNodes/",
                "SecurityAudit/",
                "Audit/Operators",
                "Audit/Boundary",
                "Foundation/Boundary",  # the policy lies in the first stack of each account
                "Partners/",
                "Gateway/PartnerFrontServicePermissions",
                "Edge/FloodProtectionAddress",
                "Gateway/StreamFrontAddress",
                "Data/Journal",
                "Data/DatabaseClusterReader",
                "Nodes/NetworkPublicTierNat",
                "Nodes/NetworkVpc",
            )
        )
        and "-Data-Journal-" not in (alarm := resource.get("Properties", {}).get("AlarmName", ""))
        and "-Audit-Operators-" not in alarm
        and "-Nodes-Network-" not in alarm
        and "itcoin" not in path + _identity(exchange, path, resource)  # chains are counted
    }


def _identity(exchange: Any, path: str, resource: dict[str, Any]) -> str:
    properties = resource.get("Properties", {})
    if "SecurityGroup" in resource["Type"] and "Description" in properties:
        return str(properties["Description"])
    return str(properties.get("AlarmName", path.split("AllowEventRule", maxsplit=1)[0])).removeprefix(
        f"Bursa-{exchange.config.name}-"
    )


def test_environments_differ_in_values_not_in_structure(exchanges: dict[str, Any]) -> None:
    assert structure(exchanges["dev"]) == structure(exchanges["staging"]) == structure(exchanges["prod"])
