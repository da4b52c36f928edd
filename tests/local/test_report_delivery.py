"""From a filed report to a notice, a fetch and its registration, through the templates, with every grant enforced."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.callers import Caller
from runtime.reporting.files import manifest_of, report
from runtime.shared.business_day import JAKARTA
from runtime.shared.business_events import EventPublisher, ReportFiled
from tests.local.conftest import until
from tests.local.world import REGION, World, delivered

YESTERDAY = datetime.now(JAKARTA).date() - timedelta(days=1)
KEY = f"trades/{YESTERDAY.year}/trades-{YESTERDAY}"


class Delivery(World):
    """What passes between the exchange and a recipient."""

    @property
    def bucket(self) -> str:
        return str(self.placed("Reporting/Reports", "AWS::S3::Bucket").ref)

    def file(self, name: str) -> None:
        """File a report of yesterday, as the filer does, and tell the bus of it."""
        made, s3 = report(name, YESTERDAY, ("a",), [("1",)], {}), self.cloud.client("s3")
        s3.put_object(Bucket=self.bucket, Key=f"{made.key}.csv", Body=made.content)
        s3.put_object(Bucket=self.bucket, Key=manifest_of(made.key), Body=made.manifest(7))
        place = f"s3://{self.bucket}/{made.key}.csv"
        bus = self.placed("Data/EventsBus", "AWS::Events::EventBus").ref
        filed = ReportFiled(
            event_id=f"report-{name}-{YESTERDAY}", at_us=1, report=name, period=str(YESTERDAY), location=place
        )
        EventPublisher(bus, self.cloud.client("events")).publish(filed)

    def item(self, recipient: str, name: str) -> dict[str, Any]:
        key = {"recipient": {"S": recipient}, "report_day": {"S": f"{YESTERDAY}/{name}"}}
        table = self.placed("Reporting/DeliveryRegister", "AWS::DynamoDB::GlobalTable").ref
        found = self.cloud.client("dynamodb").get_item(TableName=table, Key=key).get("Item", {})
        return {field: next(iter(value.values())) for field, value in found.items()}

    def role(self, recipient: str) -> str:
        return str(self.placed(f"Reporting/Delivery{recipient}Role", "AWS::IAM::Role").attributes["Arn"])

    def as_recipient(self, recipient: str, service: str) -> Any:
        """Return a client that calls as the recipient's role."""
        return self.cloud.client(service, REGION, Caller(role=self.role(recipient)))

    def notice(self, recipient: str) -> dict[str, Any]:
        """Take a notice as the recipient does, and delete it."""
        sqs, url = (
            self.as_recipient(recipient, "sqs"),
            self.placed(f"Reporting/Delivery{recipient}Notices", "AWS::SQS::Queue").ref,
        )
        (message,) = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        found: dict[str, Any] = json.loads(message["Body"])
        return found


@pytest.fixture(scope="module")
def world(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with delivered(Delivery, exchanges["dev"].folder.parent, tmp_path_factory.mktemp("delivery")) as made:
        yield made


def test_a_filed_report_is_offered_fetched_by_the_recipient_and_registered(world: Delivery) -> None:
    world.file("suspicious-transactions")
    world.file("trades")
    item = until(lambda: world.item("bourse", "trades"))
    notice = world.notice("Bourse")
    bucket, _, key = notice["location"].removeprefix("s3://").partition("/")
    assert (bucket, key) == (world.bucket, f"{KEY}.csv")
    s3 = world.as_recipient("Bourse", "s3")
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    manifest = s3.get_object(Bucket=bucket, Key=f"{KEY}.manifest.json")["Body"].read()
    assert sha256(content).hexdigest() == notice["sha256"]
    assert sha256(manifest).hexdigest() == item["manifest_sha256"]
    assert world.notice("Clearing")["report"] == "trades"
    assert "fetched_at_s" not in world.item("bourse", "trades")

    # There is no trail here: this is what it tells the default bus of that read, and of one by somebody else.
    at = datetime.now(UTC).replace(microsecond=0)
    for role in (world.role("Bourse"), "arn:aws:iam::123456789012:role/Other"):
        record = {
            "eventSource": "s3.amazonaws.com",
            "eventName": "GetObject",
            "eventTime": at.isoformat().replace("+00:00", "Z"),
            "userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": role}}},
            "requestParameters": {"bucketName": bucket, "key": key},
        }
        world.cloud.client("events").put_events(
            Entries=[{"Source": "aws.s3", "DetailType": "AWS API Call via CloudTrail", "Detail": json.dumps(record)}]
        )
    assert int(until(lambda: world.item("bourse", "trades").get("fetched_at_s"))) == int(at.timestamp())
    assert "fetched_at_s" not in world.item("clearing", "trades")


def test_a_recipient_can_read_no_other_report_see_no_other_name_and_take_no_other_notice(world: Delivery) -> None:
    s3, sqs = world.as_recipient("Bourse", "s3"), world.as_recipient("Bourse", "sqs")
    assert s3.list_objects_v2(Bucket=world.bucket, Prefix="trades/")["KeyCount"] > 0
    other = world.placed("Reporting/DeliveryClearingNotices", "AWS::SQS::Queue").ref
    own = world.placed("Reporting/DeliveryBourseNotices", "AWS::SQS::Queue").ref
    secret = KEY.replace("trades", "suspicious-transactions")
    for refused in (
        lambda: s3.get_object(Bucket=world.bucket, Key=f"{secret}.csv"),
        lambda: s3.list_objects_v2(Bucket=world.bucket),
        lambda: s3.list_objects_v2(Bucket=world.bucket, Prefix="suspicious-transactions/"),
        lambda: s3.put_object(Bucket=world.bucket, Key=f"{KEY}.csv", Body=b"other"),
        lambda: sqs.receive_message(QueueUrl=other),
        lambda: sqs.send_message(QueueUrl=own, MessageBody="{}"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
