"""Contracts of the bus: each event of the catalogue reaches every rule that should match it, and no other."""

import json
from typing import Any

import jsonschema
import pytest
from moto.events.models import EventPattern

from runtime.shared.business_events import EVENTS, BusinessEvent, CaseOpened, draft4_schema, read_event
from tests.runtime.shared.events import SAMPLES

REACHES = {  # rule → what it wakes for: detail type, and which of several
    "Notifications/NotifierTold": {
        "account.opened",
        "account.closed",
        "credentials.changed",
        "deposit.credited",
        "withdrawal.requested",
        "withdrawal.decided",
    },
    "Onboarding/EarReceived": {"application.received"},
    "Onboarding/EarAnswered": {"partner.answered kyc"},
    "Connectors/KycRequested": {"kyc.requested"},
    "Connectors/BankRequested": {"payout.requested"},
    "Connectors/ScreeningRequested": {"address.screening-requested"},
    "Reporting/DeliveryCourierFiled": {"report.filed trades"},
    "Controls/BrakeMoneyMissing": {"case.opened ledger-sum"},
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def label(event: BusinessEvent) -> str:
    which = event.kind if isinstance(event, CaseOpened) else getattr(event, "partner", getattr(event, "report", ""))
    return f"{event.detail_type} {which}".strip()


def envelope(event: BusinessEvent, account: str) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "1",
        "account": account,
        "region": "ap-southeast-3",
        "time": "2026-11-25T00:00:00Z",
        "resources": [],
        "source": event.source,
        "detail-type": event.detail_type,
        "detail": json.loads(event.model_dump_json()),
    }


def own_rules(exchange: Any) -> dict[str, dict[str, Any]]:
    """Return the patterns of the rules on our bus by place, without the digits that CDK adds."""
    return {
        path[:-8]: rule["EventPattern"]
        for path, rule in exchange.of_type("AWS::Events::Rule")
        if "EventBusName" in rule
    }


def matched(rules: dict[str, dict[str, Any]], event: dict[str, Any]) -> set[str]:
    return {path for path, pattern in rules.items() if EventPattern.load(json.dumps(pattern)).matches_event(event)}


def test_every_event_reaches_the_rules_that_should_match_and_no_other(exchange: Any) -> None:
    rules = {path: pattern for path, pattern in own_rules(exchange).items() if path in REACHES}
    assert rules.keys() == REACHES.keys()
    for sample in SAMPLES:
        wanted = {path for path, labels in REACHES.items() if label(sample) in labels}
        assert matched(rules, envelope(sample, exchange.config.account)) == wanted, label(sample)


def test_every_rule_is_reached_by_some_event(exchange: Any) -> None:
    """Also those of stacks that this file does not list: a rule that nothing reaches is a mistake."""
    rules = own_rules(exchange)
    reached = set().union(*(matched(rules, envelope(sample, exchange.config.account)) for sample in SAMPLES))
    assert rules.keys() - reached == set()


def test_an_event_under_another_source_reaches_nobody(exchange: Any) -> None:
    for sample in SAMPLES:
        forged = envelope(sample, exchange.config.account) | {"source": "aws.health"}
        assert matched(own_rules(exchange), forged) == set()


def test_each_failed_delivery_is_written_down_without_what_the_event_says(exchange: Any) -> None:
    ((path, bus),) = exchange.of_type("AWS::Events::EventBus")
    assert bus["LogConfig"] == {"IncludeDetail": "NONE", "Level": "ERROR"}
    (source,) = [each for _, each in exchange.of_type("AWS::Logs::DeliverySource") if each["LogType"] == "ERROR_LOGS"]
    assert exchange.text(source["ResourceArn"]) == f"<{path.split('/')[1]}.Arn>"
    (delivery,) = [
        each for _, each in exchange.of_type("AWS::Logs::Delivery") if each["DeliverySourceName"] == source["Name"]
    ]
    ((name, destination),) = [
        (path.split("/")[1], each)
        for path, each in exchange.of_type("AWS::Logs::DeliveryDestination")
        if path.startswith("Data/")
    ]
    assert exchange.text(delivery["DeliveryDestinationArn"]) == f"<{name}.Arn>"
    assert "EventsFailures" in exchange.text(destination["DestinationResourceArn"])


def test_the_bus_may_seal_what_it_logs_and_log_delivery_may_open_it(exchange: Any) -> None:
    (key,) = [each for path, each in exchange.of_type("AWS::KMS::Key") if path.startswith("Foundation/KeysMessages")]
    context = {"kms:EncryptionContext:SourceArn": f"arn:aws:logs:ap-southeast-3:{exchange.config.account}:*"}
    may = {
        service
        for statement in key["KeyPolicy"]["Statement"]
        for service in listed(statement["Principal"].get("Service", []))
        if {key: exchange.text(value) for key, value in statement.get("Condition", {}).get("StringLike", {}).items()}
        == context
    }
    assert may == {"events.amazonaws.com", "delivery.logs.amazonaws.com"}


def test_there_is_a_sample_of_every_event() -> None:
    assert {type(sample) for sample in SAMPLES} == set(EVENTS)


def test_the_registry_holds_the_contract_of_every_event(exchange: Any) -> None:
    registered = {schema["SchemaName"]: schema for _, schema in exchange.of_type("AWS::EventSchemas::Schema")}
    assert registered.keys() == {f"{event.source}@{event.detail_type}" for event in EVENTS}
    for sample in SAMPLES:
        schema = json.loads(registered[f"{sample.source}@{sample.detail_type}"]["Content"])
        jsonschema.Draft4Validator.check_schema(schema)
        validator = jsonschema.Draft4Validator(schema)
        detail = json.loads(sample.model_dump_json())
        assert validator.is_valid(detail)
        for required in schema["required"]:
            assert not validator.is_valid({name: value for name, value in detail.items() if name != required})


@pytest.mark.parametrize("event", EVENTS)
def test_a_schema_refuses_what_the_model_refuses(event: type[BusinessEvent]) -> None:
    (sample, *_) = [sample for sample in SAMPLES if type(sample) is event]
    detail = json.loads(sample.model_dump_json())
    validator = jsonschema.Draft4Validator(draft4_schema(event))
    for name in detail:
        for wrong in ({"no": "such"}, -1, ""):
            changed = detail | {name: wrong}
            taken = validator.is_valid(changed)
            try:
                event.model_validate(changed, strict=False)
            except ValueError:
                assert not taken, (name, wrong)


def test_what_is_published_is_what_is_read(exchange: Any) -> None:
    for sample in SAMPLES:
        assert read_event(envelope(sample, exchange.config.account)) == sample
