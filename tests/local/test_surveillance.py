"""From a queue or a stream to a case, through the templates: mappings, functions, grants, table, bucket and bus."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.shared.trade_records import encode_batch
from runtime.surveillance.findings import ANOMALY, WASH_TRADE, Finding, encode_finding
from tests.local.conftest import until
from tests.local.world import World, delivered
from tests.runtime.anomaly.test_function import with_burst
from tests.runtime.shared.test_lake_rows import row_problems

FOUND = Finding(WASH_TRADE, 1, "BTCUSDT", (1000, 1001), (7,), (), 1_790_000_000_000_000, 1_790_000_000_000_000, {})


class Desk(World):
    """What the desk works with."""

    def queue(self, name: str) -> str:
        return self.ref(f"Surveillance/{name}", "AWS::SQS::Queue")

    def case(self, case_id: str) -> dict[str, Any]:
        table = self.ref("Surveillance/Cases", "AWS::DynamoDB::GlobalTable")
        found = self.cloud.client("dynamodb").get_item(TableName=table, Key={"case_id": {"S": case_id}})
        return {key: next(iter(value.values())) for key, value in found.get("Item", {}).items()}

    def evidence(self, case_id: str) -> list[str]:
        bucket = self.ref("Surveillance/Evidence", "AWS::S3::Bucket")
        listed = self.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"cases/{case_id}/")
        return [each["Key"] for each in listed.get("Contents", ())]

    def waiting(self, queue: str) -> list[dict[str, Any]]:
        """Take what waits in a queue out of it."""
        taken: list[dict[str, Any]] = []
        sqs = self.cloud.client("sqs")
        while told := sqs.receive_message(QueueUrl=self.queue(queue), MaxNumberOfMessages=10).get("Messages"):
            for message in told:
                taken.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.queue(queue), ReceiptHandle=message["ReceiptHandle"])
        return taken

    def left(self, queue: str) -> int:
        """Return how many messages a queue holds, seen or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.cloud.client("sqs").get_queue_attributes(QueueUrl=self.queue(queue), AttributeNames=names)
        return sum(int(told["Attributes"][name]) for name in names)


@pytest.fixture(scope="module")
def world(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with delivered(Desk, exchanges["dev"].folder.parent, tmp_path_factory.mktemp("surveillance")) as made:
        yield made


def test_a_finding_in_the_queue_becomes_one_case_that_reaches_the_reviewers(world: Desk) -> None:
    sqs, queue = world.cloud.client("sqs"), world.queue("Findings")
    for body in (encode_finding(FOUND), "not a finding", encode_finding(FOUND)):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    case = until(lambda: world.case(FOUND.case_id).get("is_announced") and world.case(FOUND.case_id))
    assert (case["kind"], case["state"], case["symbol"]) == ("wash-trade", "open", "BTCUSDT")
    assert world.evidence(FOUND.case_id) == [f"cases/{FOUND.case_id}/{FOUND.finding_id}.json"]
    told = until(lambda: world.waiting("CaseQueue"))
    assert [each["detail"]["case_id"] for each in told] == [FOUND.case_id]
    # What is no finding is not lost: it waits to come again, and goes to the dead letters in the end.
    until(lambda: world.left("Findings") == 1)


def test_a_minute_unlike_those_before_becomes_a_case_by_stream_scorer_and_queue(world: Desk) -> None:
    stream = next(
        each.placed.ref for each in world.deployment.of_type("AWS::Kinesis::Stream") if "Trades" in each.wanted.path
    )
    trades = with_burst()
    for start in range(0, len(trades), 500):
        data = encode_batch("main", trades[start : start + 500])
        world.cloud.client("kinesis").put_record(StreamName=stream, Data=data, PartitionKey="main")
    expected = Finding(ANOMALY, 1, "BTCUSDT", (), (), (), trades[-2].time_us, trades[-2].time_us, {})
    case = until(lambda: world.case(expected.case_id).get("is_announced") and world.case(expected.case_id))
    assert (case["kind"], case["severity"]) == ("anomaly", "low")
    assert len(world.evidence(expected.case_id)) == 1
    told = until(lambda: world.waiting("CaseQueue"))
    assert expected.case_id in {each["detail"]["case_id"] for each in told}
    lake_has_what_its_table_declares(world)


def lake_has_what_its_table_declares(world: Desk) -> None:
    """What was delivered from the stream to the lake fills the columns of the table in the catalogue."""
    tables = world.deployment.of_type("AWS::Glue::Table")
    (table,) = [each for each in tables if each.wanted.path.startswith("Dev-Analytics/LakeTable")]
    given = table.wanted.properties
    made = world.cloud.client("glue").get_table(DatabaseName=given["DatabaseName"], Name=given["TableInput"]["Name"])
    declared = {each["Name"]: each["Type"] for each in made["Table"]["StorageDescriptor"]["Columns"]}
    bucket, _, prefix = given["TableInput"]["StorageDescriptor"]["Location"].removeprefix("s3://").partition("/")
    s3 = world.cloud.client("s3")
    keys = until(lambda: [each["Key"] for each in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())])
    decoder = json.JSONDecoder()
    rows = []
    for key in keys:
        text, place = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(), 0
        while place < len(text):
            row, place = decoder.raw_decode(text, place)
            rows.append(row)
            place += len(text[place:]) - len(text[place:].lstrip())
    assert rows
    assert [problem for row in rows for problem in row_problems(row, declared)] == []
