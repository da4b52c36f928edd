"""What is kept: locked where it must stay, readable by few, in the shape that its writers write."""

import re
from typing import Any

from runtime.shared.glue_columns import columns
from runtime.shared.trade_records import TradeBatch, TradeRecord

LOCKED = {
    "Analytics/CuratedDays": "trades_years",
    "Analytics/LakeRaw": "trades_years",
    "Engine/Archive": "trades_years",
    "Reporting/Ledger": "ledger_years",
    "Reporting/Reports": "reports_years",
    "Surveillance/Evidence": "evidence_years",
}


def lake(exchange: Any, kind: str, part: str = "Lake") -> list[tuple[str, dict[str, Any]]]:
    return [item for item in exchange.of_type(kind) if item[0].startswith(f"Analytics/{part}")]


def test_records_are_locked_for_their_years(exchange: Any) -> None:
    records = exchange.config.records
    seen = set()
    for path, bucket in exchange.of_type("AWS::S3::Bucket"):
        name = re.sub(r"[0-9A-F]{8}$", "", path)
        if name in LOCKED:
            seen.add(name)
            retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
            assert retention == {"Days": getattr(records, LOCKED[name]) * 366, "Mode": records.lock_mode}
            assert bucket["ObjectLockEnabled"] is True
    assert seen == LOCKED.keys()


def test_files_of_customers_are_locked_from_their_upload_and_go_once_they_are_marked(exchange: Any) -> None:
    """A copy too: its own lock, the shortest of all, is for what comes without one."""
    records, years = exchange.config.records, exchange.config.offboarding.files_years
    buckets = dict(exchange.of_type("AWS::S3::Bucket"))
    for name in ("Onboarding/Documents", "Foundation/CopiesBucket"):
        (bucket,) = [given for path, given in buckets.items() if path.startswith(name)]
        assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {
            "Days": years * 366,
            "Mode": records.lock_mode,
        }
        (erases,) = [rule for rule in bucket["LifecycleConfiguration"]["Rules"] if "TagFilters" in rule]
        assert erases["TagFilters"] == [{"Key": "bursa:retention", "Value": "over"}]
        assert erases["ExpirationInDays"] == 1


def test_answers_lie_apart_from_what_is_locked(exchange: Any) -> None:
    ((_, bucket),) = [item for item in exchange.of_type("AWS::S3::Bucket") if item[0].startswith("Analytics/LakeAns")]
    assert "ObjectLockConfiguration" not in bucket
    ((_, workgroup),) = lake(exchange, "AWS::Athena::WorkGroup")
    where = workgroup["WorkGroupConfiguration"]["ResultConfiguration"]["OutputLocation"]
    assert "LakeAnswers" in exchange.text(where)


def test_no_writer_of_records_can_take_one_back(exchange: Any) -> None:
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if path.startswith("Backup/"):  # its rehearsal cleans up after itself, in buckets of its own
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":  # the boundary names the same actions, to forbid them
                continue
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            taking = {a for a in actions if re.match(r"s3:(Delete|Bypass|PutObjectRetention|PutObjectLegalHold)", a)}
            assert taking == set(), path


def test_the_key_of_records_is_for_those_who_deal_with_records(exchange: Any) -> None:
    holders = {
        path.split("Grants", maxsplit=1)[0]
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if "KeysRecords" in str(policy)
    }
    assert holders == {
        "Analytics/AnalystReader",
        "Analytics/AnalystRole",
        "Analytics/CuratedJobRole",
        "Analytics/DashboardRole",
        "Analytics/LakeDeliveryRole",
        "Analytics/TrainingRunner",
        "Analytics/WarehouseRole",
        "Engine/EngineRole",
        "Foundation/CopiesRole",
        "Gateway/RestRole",
        *(f"Deposits/{chain.name.title()}Role" for chain in exchange.config.nodes.chains),
        "MarketData/MarketDataRole",
        "Offboarding/ExporterRole",
        "Offboarding/WriterRole",
        "Reconciliation/ReconcilerRole",
        "Reporting/DeliveryBourseRole",
        "Reporting/DeliveryClearingRole",
        "Reporting/DeliveryCourierRole",
        "Reporting/ExporterRole",
        "Reporting/FilerRole",
        "Reporting/Regulator",
        "Reporting/StatementsRole",
        "Surveillance/FollowerRole",
        "Surveillance/RecorderRole",
        "Surveillance/ReviewerRole",
        "Surveillance/ScorerRole",
        "Surveillance/StreamJobRole",
        "Surveillance/SweeperRole",
    }
    publishers = [
        statement["Action"]
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("MarketData/")
        for statement in policy["PolicyDocument"]["Statement"]
        if "KeysRecords" in str(statement)
    ]
    assert publishers == ["kms:GenerateDataKey"], "who publishes trades cannot read them back"


def test_the_table_has_the_columns_that_the_stream_carries(exchange: Any) -> None:
    ((_, table),) = lake(exchange, "AWS::Glue::Table")
    given = {column["Name"]: column["Type"] for column in table["TableInput"]["StorageDescriptor"]["Columns"]}
    assert given == columns(TradeBatch)
    assert given["trades"].startswith("array<struct<market:bigint,symbol:string,trade_id:bigint,price_ticks:bigint,")
    queries = {
        query["Name"]: exchange.text(query["QueryString"]) for _, query in lake(exchange, "AWS::Athena::NamedQuery")
    }
    assert "SELECT DISTINCT trade.market, trade.symbol" in queries["trades"]
    assert f"UNLOAD (SELECT {', '.join(columns(TradeRecord))} FROM trades WHERE" in queries["training"]


def test_what_is_delivered_lies_where_the_table_looks(exchange: Any) -> None:
    ((path, table),) = lake(exchange, "AWS::Glue::Table")
    ((_, delivery),) = lake(exchange, "AWS::KinesisFirehose::DeliveryStream")
    to = delivery["ExtendedS3DestinationConfiguration"]
    place = exchange.text(table["TableInput"]["Parameters"]["storage.location.template"])
    folder = to["Prefix"].replace("!{timestamp:yyyy-MM-dd}", "${arrived}")
    assert place == f"s3://{exchange.text(to['BucketARN']).replace('.Arn', '')}/{folder}".rstrip("/")
    assert table["TableInput"]["PartitionKeys"] == [{"Name": "arrived", "Type": "date"}]
    conversion = to["DataFormatConversionConfiguration"]
    assert conversion["Enabled"] is True
    assert conversion["SchemaConfiguration"]["TableName"] == {"Ref": path.split("/")[1]}
    assert "TradesStream" in exchange.text(delivery["KinesisStreamSourceConfiguration"]["KinesisStreamARN"])


def test_a_query_is_bounded_and_its_answer_under_our_key(exchange: Any) -> None:
    ((_, workgroup),) = lake(exchange, "AWS::Athena::WorkGroup")
    given = workgroup["WorkGroupConfiguration"]
    assert given["EnforceWorkGroupConfiguration"] is True
    assert given["BytesScannedCutoffPerQuery"] == exchange.config.records.query_gib_max * 2**30
    encryption = given["ResultConfiguration"]["EncryptionConfiguration"]
    assert encryption["EncryptionOption"] == "SSE_KMS"
    assert "KeysRecords" in exchange.text(encryption["KmsKey"])


def test_cases_and_price_notices_reach_people(exchange: Any) -> None:
    rules = {
        rule["EventPattern"]["detail-type"][0]: rule["Targets"]
        for path, rule in exchange.of_type("AWS::Events::Rule")
        if path.startswith("Surveillance/") and "EventPattern" in rule
    }
    assert set(rules) == {"case.opened", "price.notice"}
    assert "CaseQueue" in exchange.text(rules["case.opened"][0]["Arn"])
    assert "PriceNotices" in exchange.text(rules["price.notice"][0]["Arn"])
    for path, policy in exchange.of_type("AWS::SQS::QueuePolicy"):
        if path.startswith("Surveillance/CaseQueue"):
            allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
            assert [list(s["Condition"]["ArnEquals"]) for s in allowed] == [["aws:SourceArn"]]


def test_reports_come_in_the_hour_after_midnight_in_jakarta(exchange: Any) -> None:
    schedules = {
        path.split("/")[1][:8]: rule["ScheduleExpression"]
        for path, rule in exchange.of_type("AWS::Events::Rule")
        if path.startswith("Reporting/") and "ScheduleExpression" in rule
    }
    assert schedules == {
        "Delivery": "cron(50 * * * ? *)",
        "FilerHou": "cron(5 * * * ? *)",
        "Exporter": "cron(35 * * * ? *)",
        "Statemen": "cron(20 19 * * ? *)",
    }
