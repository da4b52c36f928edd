"""Real trades on a running exchange: a wash trade becomes one case, the ledger is proved, the day's report adds up."""

import base64
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from typing import Any

import boto3
import ccxt
import psycopg
import pytest

from local.paths import Layout
from runtime.ledger.export import Archive
from runtime.ledger.verify import verify
from runtime.shared.business_day import JAKARTA
from tests.integ.exchange import wait_for
from tests.integ.test_clients import clean, demo
from tests.integ.test_clients_ccxt import PAIR, settings

pytestmark = pytest.mark.integ


class Cloud:
    """The embedded AWS of the exchange under test, as an operator sees it."""

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=demo()["aws_endpoint_url"],
            region_name="ap-southeast-3",
            aws_access_key_id="operator",
            aws_secret_access_key="unchecked",
        )

    def function(self, part: str) -> Any:
        """Return the function whose name has `part`."""
        pages = self.client("lambda").get_paginator("list_functions").paginate()
        (found,) = [each for page in pages for each in page["Functions"] if part in each["FunctionName"]]
        return found

    def variables(self, part: str) -> dict[str, str]:
        variables: dict[str, str] = self.function(part)["Environment"]["Variables"]
        return variables

    def invoke(self, part: str, event: dict[str, Any]) -> Any:
        name = self.function(part)["FunctionName"]
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        content = answer["Payload"].read()
        assert "FunctionError" not in answer, content
        return json.loads(content)

    def items(self, table: str) -> list[dict[str, Any]]:
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def ledger() -> Iterator[psycopg.Connection]:
    """The ledger, read by the user and with the password that the gateways have."""
    lines = (Layout.from_environment().state / "pgpass").read_text().splitlines()
    (login,) = [line.split(":") for line in lines if ":ledger_reader:" in line]
    host, port, _, user, password = login
    with psycopg.connect(
        host=host, port=port, user=user, password=password, dbname="bursa", sslmode="disable", autocommit=True
    ) as connection:
        yield connection


def rows(ledger: psycopg.Connection, query: str, *arguments: Any) -> list[Any]:
    return ledger.execute(query.encode(), arguments).fetchall()


def trade_once(ledger: psycopg.Connection) -> tuple[int, int]:
    """Trade with whoever quotes; return buyer and seller once the ledger has the trade."""
    client = ccxt.binance(settings(0))
    client.load_markets()
    order_id = int(client.create_order(PAIR, "market", "buy", 0.001)["id"])
    query = "SELECT buyer, seller FROM trades WHERE buy_order_id = %s"
    wait_for(lambda: bool(rows(ledger, query, order_id)))
    ((buyer, seller), *_) = rows(ledger, query, order_id)
    return buyer, seller


def test_a_wash_trade_opens_one_case_delivered_twice_or_not(cloud: Cloud, ledger: psycopg.Connection) -> None:
    clean(0)
    variables = cloud.variables("Surveillance-Follower")
    accounts = [str(account) for (account,) in rows(ledger, "SELECT account FROM accounts WHERE account >= 1000")]
    dynamodb = cloud.client("dynamodb")
    for account in accounts:
        item = {"account": {"N": account}, "owner": {"S": "one person"}}
        dynamodb.put_item(TableName=variables["OWNER_TABLE"], Item=item)
    try:
        pair = sorted(trade_once(ledger))

        def cases() -> list[dict[str, Any]]:
            found = cloud.items(variables["CASE_TABLE"])
            return [each for each in found if [int(a["N"]) for a in each["accounts"]["L"]] == pair]

        wait_for(lambda: any(each["is_announced"]["BOOL"] for each in cases()))
        (case,) = cases()
        assert (case["kind"]["S"], case["state"]["S"]) == ("wash-trade", "open")
        prefix = f"cases/{case['case_id']['S']}/"
        s3 = cloud.client("s3")
        evidence = s3.list_objects_v2(Bucket=variables["EVIDENCE_BUCKET"], Prefix=prefix)["Contents"]
        wait_for(lambda: messages(cloud, case["case_id"]["S"]) == 1)  # the bus delivers a moment later
        again(cloud)
        assert len(cases()) == 1
        assert messages(cloud, case["case_id"]["S"]) == 0, "the bus is not told again"
        assert len(s3.list_objects_v2(Bucket=variables["EVIDENCE_BUCKET"], Prefix=prefix)["Contents"]) >= len(evidence)
    finally:
        for account in accounts:
            dynamodb.delete_item(TableName=variables["OWNER_TABLE"], Key={"account": {"N": account}})


def messages(cloud: Cloud, case_id: str) -> int:
    """Take what lies in the reviewers' queue; return how many messages are about the case."""
    sqs = cloud.client("sqs")
    (url,) = [each for each in sqs.list_queues()["QueueUrls"] if "Surveillance-CaseQueue" in each]
    count = 0
    while taken := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages"):
        for message in taken:
            count += json.loads(message["Body"])["detail"]["case_id"] == case_id
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return count


def again(cloud: Cloud) -> None:
    """Hand the function every record of the stream once more, as Kinesis may."""
    kinesis = cloud.client("kinesis")
    (stream,) = [name for name in kinesis.list_streams()["StreamNames"] if "TradesStream" in name]
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        where = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName=stream, **where)["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator, Limit=500)["Records"]
        event = [
            {"kinesis": {"sequenceNumber": each["SequenceNumber"], "data": base64.b64encode(each["Data"]).decode()}}
            for each in records
        ]
        assert cloud.invoke("Surveillance-Follower", {"Records": event}) == {"batchItemFailures": []}


def test_the_ledger_is_proved_by_its_archive(cloud: Cloud, ledger: psycopg.Connection) -> None:
    trade_once(ledger)
    assert cloud.invoke("Reporting-Exporter", {})["postings"] > 0
    archive = Archive(cloud.client("s3"), cloud.variables("Reporting-Exporter")["LEDGER_BUCKET"], "main")
    assert "postings in " in verify(ledger, archive)


def test_the_supervisor_is_answered_what_the_ledger_holds(cloud: Cloud, ledger: psycopg.Connection) -> None:
    buyer, _ = trade_once(ledger)
    page = cloud.invoke("Reporting-Views", {"view": "trades", "after": [1, 0]})
    first = rows(ledger, "SELECT trade_id, price, buyer FROM trades WHERE market = 1 ORDER BY trade_id LIMIT 1")
    assert [tuple(page["rows"][0][name] for name in ("trade_id", "price", "buyer"))] == first
    day = datetime.now(JAKARTA).date()
    records = cloud.invoke("Reporting-CustomerRecords", {"account": buyer, "day": str(day)})
    assert records["trades"]


def test_the_report_of_the_day_equals_the_ledger(cloud: Cloud, ledger: psycopg.Connection) -> None:
    """Filed as if the day were over: what is traded after that is not in it."""
    trade_once(ledger)
    day = datetime.now(JAKARTA).date()
    closed = datetime.combine(day + timedelta(days=1), time(2), JAKARTA).astimezone(UTC)
    assert f"trades {day}" in cloud.invoke("Reporting-Filer", {"time": closed.isoformat()})
    s3, bucket = cloud.client("s3"), cloud.variables("Reporting-Filer")["REPORT_BUCKET"]
    key = f"trades/{day.year}/trades-{day}"
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=f"{key}.manifest.json")["Body"].read())
    content = s3.get_object(Bucket=bucket, Key=f"{key}.csv")["Body"].read()
    assert manifest["sha256"] == sha256(content).hexdigest()
    lines = list(csv.DictReader(io.StringIO(content.decode())))
    last = max(int(line["sequence"]) for line in lines)
    in_ledger = (
        "SELECT count(*), sum(price::numeric * lots * quote_units) FROM trades JOIN markets USING (market)"
        " WHERE market = 1 AND sequence <= %s AND time_us >= %s"
    )
    start_us = int(datetime.combine(day, time(0), JAKARTA).timestamp()) * 1_000_000
    ((count, value),) = rows(ledger, in_ledger, last, start_us)
    assert (manifest["totals"]["BTCUSDT trades"], manifest["totals"]["BTCUSDT value"]) == (count, value)
    in_postings = "SELECT sum(amount) FROM postings WHERE kind = 1 AND amount > 0 AND asset = 3"
    ((posted,),) = rows(ledger, f"{in_postings} AND sequence <= %s AND time_us >= %s", last, start_us)
    assert manifest["totals"]["BTCUSDT value"] + manifest["totals"].get("ETHUSDT value", 0) == posted
