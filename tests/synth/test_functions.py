"""Functions: each its own role, queue, log and group; what they import is in their code or in the locked libraries."""

import ast
import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.ledger_database import DATABASE_AUTHORITIES, PROXY_AUTHORITIES
from exchange_constructs.runtime_code import ROOT, function_code
from runtime.shared.business_events import EVENTS, AccountOpened, KycDecided
from scripts import preflight

LOCK = ROOT / "runtime" / "functions-requirements.txt"
CALLS_OUT = "Canary/"
"""The stack whose function goes by the one way out."""
IMPORTED_AS = {"python-dateutil": "dateutil", "aws-xray-sdk": "aws_xray_sdk", "psycopg-binary": "psycopg_binary"}


def functions(exchange: Any) -> dict[str, dict[str, Any]]:
    return dict(exchange.of_type("AWS::Lambda::Function"))


def code(exchange: Any, function: dict[str, Any]) -> Path:
    """Return the folder that becomes the function's code."""
    return Path(exchange.folder.parent / f"asset.{function['Code']['S3Key'].removesuffix('.zip')}")


def test_every_function_is_bounded_traced_and_inside_the_network(exchange: Any) -> None:
    assert functions(exchange)
    for path, function in functions(exchange).items():
        assert 1 <= function["ReservedConcurrentExecutions"] <= 100, path
        assert function["Timeout"] <= 900, path
        assert function["TracingConfig"] == {"Mode": "Active"}, path
        assert function["Architectures"] == ["arm64"], path
        subnets = function["VpcConfig"]["SubnetIds"]
        tier = "EgressSubnet" if path.startswith(CALLS_OUT) else "ApplicationSubnet"
        assert all(tier in exchange.text(subnet) for subnet in subnets), path
        assert len(function["VpcConfig"]["SecurityGroupIds"]) == 1, path
        assert "KeysMessages" in exchange.text(function["KmsKeyArn"]), path


def test_no_two_functions_share_a_role_a_group_a_log_or_a_queue(exchange: Any) -> None:
    for own in (
        lambda function: function["Role"],
        lambda function: function["VpcConfig"]["SecurityGroupIds"],
        lambda function: function["LoggingConfig"]["LogGroup"],
        lambda function: function["DeadLetterConfig"]["TargetArn"],
    ):
        seen = [path.split("/")[0] + json.dumps(own(function)) for path, function in functions(exchange).items()]
        assert len(seen) == len(set(seen))


def test_what_cannot_be_delivered_is_kept_and_retries_end(exchange: Any) -> None:
    for path, rule in exchange.of_type("AWS::Events::Rule"):
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"]["Arn"], path
            assert target["RetryPolicy"]["MaximumRetryAttempts"] <= 20, path
            assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 24 * 3600, path
    for path, mapping in exchange.of_type("AWS::Lambda::EventSourceMapping"):
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"], path
        if "StartingPosition" in mapping:
            assert mapping["BisectBatchOnFunctionError"] is True, path
            assert mapping["MaximumRetryAttempts"] <= 10, path
            assert mapping["MaximumRecordAgeInSeconds"] <= 24 * 3600, path
            assert mapping["DestinationConfig"]["OnFailure"]["Destination"], path


def test_every_queue_but_the_last_has_one_behind_it(exchange: Any) -> None:
    bare = [path for path, queue in exchange.of_type("AWS::SQS::Queue") if "RedrivePolicy" not in queue]
    pagers = [path for path, _ in exchange.of_type("AWS::SNS::Topic") if "Pager" in path]
    beside = tuple(path.partition("Pager")[0] + "Undelivered" for path in pagers)
    alarms = [path for path in bare if path.startswith(beside)]  # what reached no operator
    assert len(alarms) == len(pagers)
    last = sorted(path.split("/")[0] for path in bare if path not in alarms and not path.startswith("Security"))
    assert last == ["Custody", "Data"], bare
    security = [path for path in bare if path.startswith("Security") and path not in alarms]
    assert len(security) == len(exchange.config.accounts.distinct())  # one for the findings of each account


def test_code_in_a_function_cannot_touch_the_network(exchange: Any) -> None:
    """Lambda may join a function to the network by the function's role; the code under that role may not."""
    ((_, policy),) = [item for item in exchange.of_type("AWS::IAM::ManagedPolicy") if "NetworkAccess" in item[0]]
    allowed = {a for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow" for a in s["Action"]}
    (denied,) = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
    assert set(denied["Action"]) == {action for action in allowed if action.startswith("ec2:")}
    assert list(denied["Condition"]["ArnLike"]) == ["lambda:SourceFunctionArn"]


def imported(folder: Path) -> dict[str, set[str]]:
    """Return the modules that each file of `folder` imports when it is loaded, by name of the file."""
    found = {}
    for path in folder.rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.add(node.module)
        found[str(path.relative_to(folder))] = names
    return found


def reached(folder: Path, handler: str) -> dict[str, set[str]]:
    """Return what is loaded with `handler`: imports by file, of the handler's module and all it imports of ours."""
    imports = imported(folder)
    waiting, seen = [handler.rpartition(".")[0]], {}
    while waiting:
        module = waiting.pop()
        files = [module.replace(".", "/") + ".py", module.replace(".", "/") + "/__init__.py"]
        (file,) = [file for file in files if file in imports] or [None]
        assert file, f"{module} is imported and not in the code of {handler}"
        if file not in seen:
            seen[file] = imports[file]
            waiting += [name for name in imports[file] if name.startswith("runtime.")]
    return seen


def test_a_function_finds_everything_it_imports(dev: Any) -> None:
    locked = set(re.findall(r"^([\w-]+)==", LOCK.read_text(), re.MULTILINE))
    available = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in locked} | set(sys.stdlib_module_names)
    for path, function in functions(dev).items():
        for file, names in reached(code(dev, function), function["Handler"]).items():
            foreign = {name.split(".")[0] for name in names} - available - {"runtime"}
            assert not foreign, f"{path}: {file} imports {foreign}, which is not in {LOCK.name}"


def test_the_code_of_a_function_holds_no_other_service(dev: Any) -> None:
    (notifier,) = [f for path, f in functions(dev).items() if path.startswith("Notifications/Notifier")]
    # a local run of the same assembly leaves compiled modules behind
    folders = {path.name for path in (code(dev, notifier) / "runtime").iterdir() if path.is_dir()}
    packages = folders - {"__pycache__"}
    assert packages == {"notifications", "shared"}


def test_libraries_are_of_the_versions_that_are_tested_here() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for name, version in re.findall(r"^([\w-]+)==(\S+) \\$", LOCK.read_text(), re.MULTILINE):
        assert pins[name] == version, name
    assert LOCK.read_text().count("--hash=sha256:") == len(re.findall(r"^[\w-]+==", LOCK.read_text(), re.MULTILINE))


def test_with_libraries_every_function_has_them(turned_on: Any) -> None:
    folder = turned_on.folder.parent
    assert len(list(folder.glob("asset.*/python/library.py"))) == 1
    assert preflight.bare_functions(folder) == []


def test_without_libraries_a_deployment_is_refused(dev: Any) -> None:
    assert len(preflight.bare_functions(dev.folder.parent)) >= len(functions(dev))


def test_a_service_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"service must be a package in runtime/ \(.*notifications.*\), was 'nothing'"):
        function_code("nothing")


def test_a_rule_on_a_field_that_no_event_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"account.opened has the fields .*tier, not level"):
        BusinessEvents.pattern(AccountOpened, detail={"level": ["gold"]})
    assert BusinessEvents.pattern(KycDecided, detail={"decision": ["refused"]}).detail == {"decision": ["refused"]}


def test_rules_name_events_of_the_catalogue_only(exchange: Any) -> None:
    """A rule for an event that nobody can publish would never match and never be missed."""
    known = {(event.source, event.detail_type) for event in EVENTS}
    types = {detail_type for _, detail_type in known}
    for path, rule in exchange.of_type("AWS::Events::Rule"):
        if "EventBusName" not in rule:
            continue  # of AWS itself, or a schedule
        for detail_type in rule["EventPattern"]["detail-type"]:
            assert detail_type in types, path
            assert any((source, detail_type) in known for source in rule["EventPattern"]["source"]), path


def test_functions_verify_the_database_against_roots_that_their_layer_holds(exchange: Any) -> None:
    """libpq verifies in full; without a file of roots it would refuse every connection."""
    connecting = {
        path: function["Environment"]["Variables"]
        for path, function in exchange.of_type("AWS::Lambda::Function")
        if "DATABASE_URL" in function.get("Environment", {}).get("Variables", {})
    }
    assert len(connecting) >= 4
    for path, variables in connecting.items():
        # One meets the database itself, whose certificate RDS signs; `test_function_libraries.py` has its roots.
        itself = path.startswith("Ledger/Migrator")
        assert variables.get("PGSSLROOTCERT") == (DATABASE_AUTHORITIES if itself else PROXY_AUTHORITIES), path
        assert ("Proxy" in exchange.text(variables["DATABASE_URL"])) is not itself, path
    package, file = PROXY_AUTHORITIES.split("/")[-2:]
    assert re.search(rf"^{package}==", LOCK.read_text(), re.MULTILINE)
    assert "MIIDQTCCAimgAwIBAgITBmyfz5m" in (files(package) / file).read_text()  # Amazon Root CA 1
