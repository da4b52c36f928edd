"""Mail to customers: in our own name once that is proven, signed, over TLS."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from aws_cdk import Stack, assertions
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs

from config.environments import DEV
from exchange_constructs.customer_mail import CustomerMail


def test_the_domain_is_proven_by_records_of_its_zone(exchange: Any) -> None:
    ((_, identity),) = exchange.of_type("AWS::SES::EmailIdentity")
    assert identity["EmailIdentity"] == f"mail.{exchange.config.domain}"
    records = [
        record
        for path, record in exchange.of_type("AWS::Route53::RecordSet")
        if path.startswith("Onboarding/Mail") and record["HostedZoneId"] == exchange.config.hosted_zone_id
    ]
    signed = [
        (exchange.text(record["Name"]), exchange.text(record["ResourceRecords"][0]))
        for record in records
        if record["Type"] == "CNAME"
    ]
    assert len({name for name, _ in signed}) == 3
    for number, (name, value) in enumerate(sorted(signed), start=1):
        assert f"DkimDNSTokenName{number}" in name
        assert f"DkimDNSTokenValue{number}" in value
    (policy,) = (record for record in records if record["Type"] == "TXT")
    assert policy["Name"] == f"_dmarc.mail.{exchange.config.domain}"
    assert policy["ResourceRecords"] == ['"v=DMARC1; p=reject; adkim=s; aspf=s"']


def test_mail_goes_over_tls_and_not_to_who_does_not_want_it(exchange: Any) -> None:
    ((_, identity),) = exchange.of_type("AWS::SES::EmailIdentity")
    ((path, sent),) = exchange.of_type("AWS::SES::ConfigurationSet")
    assert path.startswith("Onboarding/")
    assert sent["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}
    assert sorted(sent["SuppressionOptions"]["SuppressedReasons"]) == ["BOUNCE", "COMPLAINT"]
    assert sent["ReputationOptions"] == {"ReputationMetricsEnabled": True}
    assert "MailSet" in str(identity["ConfigurationSetAttributes"]["ConfigurationSetName"])


def test_what_did_not_arrive_waits_in_a_queue(exchange: Any) -> None:
    ((_, told),) = exchange.of_type("AWS::SES::ConfigurationSetEventDestination")
    destination = told["EventDestination"]
    assert destination["MatchingEventTypes"] == ["bounce", "complaint", "reject", "renderingFailure"]
    assert "event-bus/default" in str(destination["EventBridgeDestination"]["EventBusArn"])
    ((_, rule),) = (each for each in exchange.of_type("AWS::Events::Rule") if "MailNotArrived" in each[0])
    assert "EventBusName" not in rule, "SES tells the default bus only"
    assert rule["EventPattern"]["source"] == ["aws.ses"]
    (target,) = rule["Targets"]
    assert "MailTroubles" in str(target["Arn"])
    assert "MailUnread" in str(target["DeadLetterConfig"]["Arn"])


def test_a_first_deployment_mails_in_the_name_of_cognito(exchange: Any) -> None:
    assert exchange.config.mail_verified is False, "a pool that mails by an identity without proof is refused"
    ((_, pool),) = exchange.of_type("AWS::Cognito::UserPool")
    assert "EmailConfiguration" not in pool


def test_once_the_domain_is_proven_customers_get_mail_in_our_name(
    synth_app: Callable[[Path], Any], tmp_path: Path
) -> None:
    stack = Stack(synth_app(tmp_path), "Mail")
    keys = SimpleNamespace(messages=kms.Key(stack, "Key"))
    platform = cast(Any, SimpleNamespace(keys=keys, last_letters=sqs.Queue(stack, "Last")))
    config = dataclasses.replace(DEV, mail_verified=True)
    cognito.UserPool(stack, "Pool", email=CustomerMail(stack, "Mail", config=config, platform=platform).sender)
    found = assertions.Template.from_stack(stack).find_resources("AWS::Cognito::UserPool")
    (given,) = (pool["Properties"]["EmailConfiguration"] for pool in found.values())
    assert given["EmailSendingAccount"] == "DEVELOPER"
    assert given["From"] == f"Bursa <no-reply@mail.{DEV.domain}>"
    assert "MailSet" in str(given["ConfigurationSet"])
    assert f":{DEV.region}:" in str(given["SourceArn"])
    assert str(given["SourceArn"]).rstrip("]}'").endswith(f":identity/mail.{DEV.domain}")
