"""From an application to an account, through the templates: rules, API destination, webhook, state machine, engine."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.connectors.signatures import signed
from runtime.onboarding.applications import LIST_KEY, Application
from runtime.onboarding.decisions import DISCLOSURE_VERSION
from runtime.shared.business_events import ApplicationReceived, EventPublisher
from tests.local.world import World, delivered

WAIT_S = 60.0
BUDI = Application(
    application_id="0" * 31 + "1",
    user="user-1",
    full_name="Budi Santoso",
    birth_date="1990-05-17",  # type: ignore[arg-type]
    country="ID",
    disclosure_version=DISCLOSURE_VERSION,
)


def applicant(number: int, **change: Any) -> Application:
    return BUDI.model_copy(update={"application_id": f"{number:032x}", **change})


class KycPartner(BaseHTTPRequestHandler):
    """A mock vendor: takes a check, and answers it at once by a signed webhook."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012 - shared by all requests on purpose
    answer: Callable[[str], None]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append({"body": body, "key": self.headers["x-api-key"], "path": self.path})
        self.send_response(202)
        self.end_headers()
        threading.Thread(target=type(self).answer, args=(body["reference"],)).start()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@dataclass
class Desk(World):
    """Applicants, and a partner who knows them."""

    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> Any:
        return self.placed("Onboarding/Applications", "AWS::DynamoDB::GlobalTable").ref

    def apply(self, application: Application, kyc: str = "verified") -> None:
        """Store an application and tell the bus of it, as registration does."""
        self.outcomes[application.application_id] = kyc
        item = {name: {"S": value} for name, value in application.model_dump(mode="json").items() if value}
        self.cloud.client("dynamodb").put_item(TableName=self.table, Item=item)
        received = ApplicationReceived(
            event_id=f"application/{application.application_id}", at_us=1, application_id=application.application_id
        )
        bus = self.placed("Data/EventsBus", "AWS::Events::EventBus").ref
        for _twice in range(2):  # a delivery may come twice
            EventPublisher(bus, self.cloud.client("events")).publish(received)

    def hook(self, reference: str) -> None:
        """Send the partner's answer, twice; the second is a replay."""
        secret = self.placed("Connectors/KycSecret", "AWS::SecretsManager::Secret").ref
        value = json.loads(self.cloud.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
        body = json.dumps({"id": f"d-{reference}", "subject": reference, "outcome": self.outcomes[reference]})
        for _twice in range(2):
            assert self.deliver(body, signed(value["webhook_secret"], int(time.time()), body.encode())) == 202

    def deliver(self, body: str, signature: str, path: str = "/hooks/kyc") -> int:
        """Call the webhook function as the balancer does; return its status."""
        function = self.placed("Connectors/HooksFunction", "AWS::Lambda::Function").ref
        request = {
            "path": path,
            "httpMethod": "POST",
            "headers": {"x-bursa-signature": signature},
            "body": body,
            "isBase64Encoded": False,
        }
        answer = self.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(request).encode())
        return int(json.load(answer["Payload"])["statusCode"])

    def ended(self, application: Application) -> tuple[str, dict[str, Any]]:
        """Return status of the application's execution once it has ended, and the application's item."""
        arn = self.placed("Onboarding/FlowMachine", "AWS::StepFunctions::StateMachine").ref
        execution = arn.replace(":stateMachine:", ":execution:") + ":" + application.application_id
        states, deadline = self.cloud.client("stepfunctions"), time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                status = states.describe_execution(executionArn=execution)["status"]
            except states.exceptions.ExecutionDoesNotExist:
                status = "not started"
            if status not in {"RUNNING", "not started"}:
                break
            time.sleep(0.1)
        key = {"application_id": {"S": application.application_id}}
        return status, self.cloud.client("dynamodb").get_item(TableName=self.table, Key=key)["Item"]


@pytest.fixture(scope="module")
def world(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    partner = ThreadingHTTPServer(("127.0.0.1", 0), KycPartner)
    threading.Thread(target=partner.serve_forever, daemon=True).start()
    assembly, folder = exchanges["dev"].folder.parent, tmp_path_factory.mktemp("onboarding")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_PARTNERS", json.dumps({"kyc.partner.example": f"http://127.0.0.1:{partner.server_port}"}))
        with delivered(Desk, assembly, folder, running=["engine"]) as made:
            KycPartner.answer = made.hook
            bucket = made.ref("Onboarding/Documents", "AWS::S3::Bucket")
            listed = [{"name": "Santoso, BUDÍ Jr", "birth_year": 1990}, {"name": "Mallory", "birth_year": None}]
            made.cloud.client("s3").put_object(Bucket=bucket, Key=LIST_KEY, Body=json.dumps(listed).encode())
            yield made
    partner.shutdown()


def outcome(item: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item["outcome"]["S"])
    return found


def test_a_verified_applicant_ends_with_one_account(world: Desk) -> None:
    application = applicant(1)
    world.apply(application)
    status, item = world.ended(application)
    assert status == "SUCCEEDED"
    assert outcome(item) == {"decision": "approved", "tier": "standard", "reasons": []}
    assert int(item["account_id"]["N"]) > 0
    asked = [each for each in KycPartner.asked if each["body"] == {"reference": application.application_id}]
    assert [(each["path"], each["key"]) for each in asked] == [("/v1/checks", "to-be-given-by-the-partner")]


@pytest.mark.parametrize(
    ("number", "change", "kyc", "reasons"),
    [
        (2, {}, "rejected", ["identity-not-verified"]),
        (3, {}, "hm", ["identity-check-without-result"]),
        (4, {"full_name": "MALLORY"}, "verified", ["sanctions-list-match"]),
        (
            5,
            {"country": "US", "disclosure_version": ""},
            "verified",
            ["country-not-served", "risk-disclosure-not-accepted"],
        ),
    ],
)
def test_whoever_fails_a_check_is_refused_with_every_reason(
    world: Desk, number: int, change: dict[str, Any], kyc: str, reasons: list[str]
) -> None:
    application = applicant(number, **change)
    world.apply(application, kyc)
    status, item = world.ended(application)
    assert status == "SUCCEEDED"
    assert outcome(item) == {"decision": "refused", "tier": "", "reasons": reasons}
    assert "account_id" not in item


def test_a_webhook_that_is_not_the_partners_is_refused(world: Desk) -> None:
    body = json.dumps({"id": "forged", "subject": "0" * 32, "outcome": "verified"})
    now = int(time.time())
    assert world.deliver(body, signed("another secret", now, body.encode())) == 401
    assert world.deliver(body, "") == 401
    assert world.deliver(body, "", path="/hooks/nobody") == 404


def test_nothing_of_an_applicant_is_in_a_log(world: Desk) -> None:
    folder = world.folder / "logs"
    text = "\n".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert f"{1:032x}" in text
    assert "Budi" not in text
    assert "1990-05-17" not in text
