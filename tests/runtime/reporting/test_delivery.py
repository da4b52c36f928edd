"""Each recipient is told of its reports and of no others, is registered once, and is late when it does not come."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, get_args

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from config.markets import CATALOGUE
from config.records import ReportName
from runtime.reporting import handler_delivery
from runtime.reporting.day import Day, Sums, reports
from runtime.reporting.delivery import (
    LATE,
    NOTICE_SCHEMA,
    OFFERED_DAYS,
    Delivery,
    Recipient,
    Register,
    fetched,
    offer_missing,
)
from runtime.reporting.files import report
from runtime.reporting.filing import Cabinet

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 21, 1, 5, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
HOUR_S = 3600
TABLE = "deliveries"
ROLE = "arn:aws:iam::123456789012:role/Bourse"


class Desk:
    """A bucket, a register and two queues."""

    def __init__(self, bucket: Any) -> None:
        self.bucket, self.cabinet = bucket, Cabinet(bucket)
        dynamodb = boto3.resource("dynamodb")
        self.table = dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "recipient", "KeyType": "HASH"},
                {"AttributeName": "report_day", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "recipient", "AttributeType": "S"},
                {"AttributeName": "report_day", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        self.register = Register(self.table)
        self.sqs = boto3.client("sqs")
        self.recipients = [
            self._recipient("bourse", ("trades",), hours=24),
            self._recipient("clearing", ("trades", "tax"), hours=6),
        ]

    def _recipient(self, name: str, wanted: tuple[str, ...], *, hours: int) -> Recipient:
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        return Recipient(name, url, wanted, hours * HOUR_S)

    def file(self, *names: str, day: date = DAY) -> None:
        for name in names:
            self.cabinet.file(report(name, day, ("a",), [("1",), (str(day),)], {}), 7)

    def send(self, url: str, text: str) -> None:
        self.sqs.send_message(QueueUrl=url, MessageBody=text)

    def offer(self, now_s: int = NOW_S, send: Callable[[str, str], None] | None = None) -> list[str]:
        offered = offer_missing(self.recipients, self.cabinet, self.register, send or self.send, now_s * 1_000_000)
        return [f"{each.recipient} {each.report} {each.day}" for each in offered]

    def told(self, name: str) -> list[dict[str, Any]]:
        """Take what waits in a recipient's queue out of it."""
        (url,) = (each.queue_url for each in self.recipients if each.name == name)
        taken = []
        while found := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                taken.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def item(self, recipient: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.table.get_item(Key={"recipient": recipient, "report_day": name}).get("Item", {})
        return found


@pytest.fixture
def desk(bucket: Any) -> Desk:
    return Desk(bucket)


def test_each_is_told_of_its_reports_and_of_no_others(desk: Desk) -> None:
    desk.file("trades", "tax", "suspicious-transactions")
    assert desk.offer() == [f"bourse trades {DAY}", f"clearing trades {DAY}", f"clearing tax {DAY}"]
    (notice,) = desk.told("bourse")
    place = "s3://reports/trades/2026/trades-2026-11-20"
    content = desk.bucket.Object("trades/2026/trades-2026-11-20.csv").get()["Body"].read()
    assert notice == {
        "schema": NOTICE_SCHEMA,
        "report": "trades",
        "day": "2026-11-20",
        "location": f"{place}.csv",
        "manifest": f"{place}.manifest.json",
        "sha256": sha256(content).hexdigest(),
    }
    assert [each["report"] for each in desk.told("clearing")] == ["trades", "tax"]


def test_a_report_is_registered_once_with_the_checksum_of_its_manifest(desk: Desk) -> None:
    desk.file("trades", "tax")
    desk.offer()
    assert desk.offer(NOW_S + HOUR_S) == []
    assert [len(desk.told(each.name)) for each in desk.recipients] == [1, 2]
    manifest = desk.bucket.Object("tax/2026/tax-2026-11-20.manifest.json").get()["Body"].read()
    assert desk.item("clearing", "2026-11-20/tax") == {
        "recipient": "clearing",
        "report_day": "2026-11-20/tax",
        "offered_at_s": NOW_S,
        "due_at_s": NOW_S + 6 * HOUR_S,
        "manifest_sha256": sha256(manifest).hexdigest(),
    }


def test_what_has_no_manifest_yet_is_not_offered(desk: Desk) -> None:
    desk.bucket.put_object(Key="trades/2026/trades-2026-11-20.csv", Body=b"half way")
    assert desk.offer() == []
    desk.file("trades")
    assert desk.offer() == [f"bourse trades {DAY}", f"clearing trades {DAY}"]


def test_what_was_missed_is_made_good_oldest_first_and_what_is_old_is_left(desk: Desk) -> None:
    today = DAY + timedelta(days=1)
    for back in range(1, OFFERED_DAYS + 2):
        desk.file("trades", day=today - timedelta(days=back))
    days = [str(today - timedelta(days=back)) for back in range(OFFERED_DAYS, 0, -1)]
    assert [each for each in desk.offer() if each.startswith("bourse")] == [f"bourse trades {day}" for day in days]


def test_a_run_that_breaks_off_after_telling_tells_again_and_registers_once(desk: Desk) -> None:
    desk.file("trades")

    def told_and_cut_off(url: str, text: str) -> None:
        desk.send(url, text)
        raise ConnectionError("cut off")

    with pytest.raises(ConnectionError):
        desk.offer(send=told_and_cut_off)
    assert desk.item("bourse", f"{DAY}/trades") == {}
    assert desk.offer(NOW_S + 60) == [f"bourse trades {DAY}", f"clearing trades {DAY}"]
    assert [each["sha256"] for each in desk.told("bourse")] == [desk.told("clearing")[0]["sha256"]] * 2
    assert desk.item("bourse", f"{DAY}/trades")["offered_at_s"] == NOW_S + 60


def test_the_first_registration_stays_when_two_runs_meet(desk: Desk) -> None:
    delivery = Delivery("bourse", "trades", DAY)
    desk.register.offer(delivery, "a" * 64, now_s=1, due_at_s=2)
    desk.register.offer(delivery, "b" * 64, now_s=5, due_at_s=6)
    found = desk.item("bourse", f"{DAY}/trades")
    assert (found["offered_at_s"], found["due_at_s"], found["manifest_sha256"]) == (1, 2, "a" * 64)


def test_a_delivery_is_late_until_it_is_fetched_and_only_past_its_time(desk: Desk) -> None:
    desk.file("trades", "tax")
    desk.offer()
    due = NOW_S + 6 * HOUR_S
    assert desk.register.late("clearing", due) == []
    assert desk.register.late("clearing", due + 1) == [f"{DAY}/tax", f"{DAY}/trades"]
    assert desk.register.late("bourse", due + 1) == []
    desk.register.fetch(Delivery("clearing", "tax", DAY), due + 2)
    desk.register.fetch(Delivery("clearing", "tax", DAY), due + 9)
    assert desk.register.late("clearing", due + 10) == [f"{DAY}/trades"]
    assert desk.item("clearing", f"{DAY}/tax")["fetched_at_s"] == due + 2


def test_a_year_later_what_nobody_fetched_is_still_late(desk: Desk) -> None:
    desk.file("trades")
    desk.offer()
    assert desk.register.late("bourse", NOW_S + 366 * 24 * HOUR_S) == [f"{DAY}/trades"]


def test_what_was_fetched_before_it_was_offered_is_offered_all_the_same_and_is_never_late(desk: Desk) -> None:
    desk.file("trades")
    desk.register.fetch(Delivery("bourse", "trades", DAY), NOW_S - 60)
    assert f"bourse trades {DAY}" in desk.offer()
    assert desk.register.late("bourse", NOW_S + 48 * HOUR_S) == []


def test_a_register_of_many_pages_is_read_to_its_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for back in range(9):
        desk.register.offer(Delivery("bourse", "trades", DAY - timedelta(days=back)), "a" * 64, now_s=1, due_at_s=2)
    query = desk.table.query
    monkeypatch.setattr(desk.table, "query", lambda **given: query(**given, Limit=2))
    assert len(desk.register.late("bourse", 3)) == len(desk.register.offered("bourse", DAY - timedelta(days=99))) == 9
    assert desk.register.offered("bourse", DAY) == {f"{DAY}/trades"}


@pytest.mark.parametrize(
    ("name", "delivery"),
    [
        ("trades/2026/trades-2026-11-20.csv", Delivery("bourse", "trades", DAY)),
        ("trades/2026/trades-2026-11-20.manifest.json", None),
        ("trades/2026/tax-2026-11-20.csv", None),
        ("statement/2026/10/1000.csv", None),
    ],
)
def test_only_the_file_itself_completes_a_delivery(name: str, delivery: Delivery | None) -> None:
    assert fetched("bourse", name) == delivery


def test_every_report_that_may_be_delivered_is_one_that_is_filed() -> None:
    filed = {each.name for each in reports(Day(DAY, [], [], Sums({}, {}), []), CATALOGUE)}
    assert filed - set(get_args(ReportName)) == {"suspicious-transactions"}
    assert set(get_args(ReportName)) < filed


def read(key: str, at: str = "2026-11-21T02:00:00Z", role: str = ROLE) -> dict[str, Any]:
    """Return the trail's record of a read, as EventBridge brings it."""
    return {
        "source": "aws.s3",
        "detail-type": "AWS API Call via CloudTrail",
        "detail": {
            "eventTime": at,
            "eventName": "GetObject",
            "userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {"arn": role}}},
            "requestParameters": {"bucketName": "reports", "key": key},
        },
    }


def test_the_functions_offer_register_and_tell_how_many_are_late(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        {
            "name": each.name,
            "queue_url": each.queue_url,
            "reports": each.reports,
            "deliver_within_s": each.deliver_within_s,
        }
        for each in desk.recipients
    ]
    monkeypatch.setenv("RECIPIENTS", json.dumps(told))
    monkeypatch.setenv("RECIPIENT_BY_ROLE", json.dumps({ROLE: "bourse"}))
    monkeypatch.setenv("DELIVERY_TABLE", TABLE)
    monkeypatch.setenv("REPORT_BUCKET", "reports")
    desk.file("trades")

    numbers: list[int] = []

    def write(_message: str, *, extra: dict[str, int] | None = None, **_fields: Any) -> None:
        numbers.extend(value for name, value in (extra or {}).items() if name == LATE)

    monkeypatch.setattr(handler_delivery.logger, "info", write)

    def offer(moment: datetime) -> tuple[list[str], int]:
        names = handler_delivery.offer({"time": moment.isoformat()}, LambdaContext())
        return names, numbers.pop()

    assert offer(NOW) == ([f"bourse trades {DAY}", f"clearing trades {DAY}"], 0)
    assert handler_delivery.fetched(read("trades/2026/trades-2026-11-20.manifest.json"), LambdaContext()) == ""
    assert offer(NOW + timedelta(hours=25)) == ([], 2)
    assert (
        handler_delivery.fetched(read("trades/2026/trades-2026-11-20.csv"), LambdaContext()) == f"bourse trades {DAY}"
    )
    assert desk.item("bourse", f"{DAY}/trades")["fetched_at_s"] == int(
        datetime(2026, 11, 21, 2, tzinfo=UTC).timestamp()
    )
    assert offer(NOW + timedelta(hours=25)) == ([], 1)
    with pytest.raises(KeyError):
        handler_delivery.fetched(
            read("trades/2026/trades-2026-11-20.csv", role="arn:aws:iam::1:role/Other"), LambdaContext()
        )
