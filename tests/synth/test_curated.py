"""Days of trades: locked and copied, filled by a bounded job that can only add, whose failures reach operators."""

import json
import re
from pathlib import Path
from typing import Any

from exchange_constructs.alarm_kinds import LOG_BOUNDS
from exchange_constructs.log_metric import LAKE_SET_ASIDE
from runtime.curation import job as program
from runtime.curation.day import COLUMNS, SET_ASIDE
from runtime.curation.lake import ASIDE, CURATED
from tests.synth.test_analytics import policy_of
from tests.synth.test_records import lake

ROOT = Path(__file__).resolve().parents[2]


def the(exchange: Any, kind: str) -> dict[str, Any]:
    ((_, found),) = lake(exchange, kind, "Curated")
    return found


def test_the_table_has_the_columns_and_the_place_of_the_job(exchange: Any) -> None:
    given = the(exchange, "AWS::Glue::Table")["TableInput"]
    columns = {column["Name"]: column["Type"] for column in given["StorageDescriptor"]["Columns"]}
    assert columns == COLUMNS
    assert given["PartitionKeys"] == [{"Name": "day", "Type": "date"}]
    assert exchange.text(given["StorageDescriptor"]["Location"]).endswith(f"/{CURATED}")
    assert not [name for name in given["Parameters"] if name.startswith("projection")]
    assert CURATED.startswith("curated/")
    assert ASIDE.startswith("curated/")  # copied, like the days themselves


def test_the_job_is_bounded_and_alone(exchange: Any) -> None:
    ((path, job),) = lake(exchange, "AWS::Glue::Job", "Curated")
    job_id = path.split("/")[1]
    assert (job["NumberOfWorkers"], job["Timeout"], job["MaxRetries"]) == (2, 120, 1)
    assert job["ExecutionProperty"] == {"MaxConcurrentRuns": 1}
    trigger = the(exchange, "AWS::Glue::Trigger")
    assert (trigger["Type"], trigger["Schedule"], trigger["StartOnCreation"]) == (
        "SCHEDULED",
        "cron(0 3 * * ? *)",
        True,
    )
    assert [exchange.text(action["JobName"]) for action in trigger["Actions"]] == [f"<{job_id}>"]


def test_the_job_finds_its_program_and_every_argument(exchange: Any) -> None:
    job = the(exchange, "AWS::Glue::Job")
    given = {name: exchange.text(value) for name, value in job["DefaultArguments"].items()}
    told = program.arguments([part for pair in given.items() for part in pair])
    assert told.raw.startswith("<LakeRaw")
    assert told.curated.startswith("<CuratedDays")
    assert told.table.startswith("<CuratedTable")
    assert told.log_group.startswith("<CuratedTold")
    (manifest,) = exchange.folder.glob(f"{exchange.stage}Analytics*.assets.json")
    listed = json.loads(manifest.read_text())["files"]
    placed = {f"{name}": each["source"] for name, each in listed.items()}

    def source(url: str) -> Path:
        (name,) = [name for name in placed if name in url]
        return Path(exchange.folder / placed[name]["path"])

    assert source(exchange.text(job["Command"]["ScriptLocation"])).read_text() == Path(program.__file__).read_text()
    packages = source(given["--extra-py-files"])
    assert (packages / "runtime/curation/lake.py").is_file()
    assert (packages / "runtime/__init__.py").is_file()
    assert not (packages / "runtime/engine").exists()


def test_what_the_job_keeps_and_says_is_under_our_keys(exchange: Any) -> None:
    given = the(exchange, "AWS::Glue::SecurityConfiguration")["EncryptionConfiguration"]
    (stored,) = given["S3Encryptions"]
    assert (stored["S3EncryptionMode"], given["JobBookmarksEncryption"]["JobBookmarksEncryptionMode"]) == (
        "SSE-KMS",
        "CSE-KMS",
    )
    assert "KeysRecords" in exchange.text(stored["KmsKeyArn"])
    assert "KeysLogs" in exchange.text(given["CloudWatchEncryption"]["KmsKeyArn"])
    job = the(exchange, "AWS::Glue::Job")
    assert exchange.text(job["SecurityConfiguration"]).startswith("<CuratedSecurity")
    prefix = job["DefaultArguments"]["--custom-logGroup-prefix"]
    names = {group.get("LogGroupName") for _, group in lake(exchange, "AWS::Logs::LogGroup", "Curated")}
    assert names == {f"{prefix}/error", f"{prefix}/output", None}


def test_the_job_adds_and_points_and_can_take_nothing_back(exchange: Any) -> None:
    may = policy_of(exchange, "Analytics/CuratedJobRole")
    assert {action for action in may if action.startswith(("s3:", "glue:"))} == {
        "glue:CreatePartition",
        "glue:GetPartition",
        "glue:GetPartitions",
        "glue:GetTable",
        "glue:UpdatePartition",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:PutObject",
    }
    (written,) = may["s3:PutObject"]
    assert re.fullmatch(r"<CuratedDays\w+\.Arn>/curated/\*", written)
    assert all(each.startswith("<LakeRaw") for each in may["s3:ListBucket"])
    assert sum(each.endswith("/trades_by_day") for each in may["glue:UpdatePartition"]) == 1


def test_a_night_that_fails_is_told_with_its_page(exchange: Any) -> None:
    ((path, rule),) = lake(exchange, "AWS::Events::Rule", "CuratedFailed")
    assert exchange.text(rule["EventPattern"]["detail"]["jobName"][0]).startswith("<CuratedJob")
    assert {"FAILED", "TIMEOUT"} <= set(rule["EventPattern"]["detail"]["state"])
    (target,) = rule["Targets"]
    assert "Tickets" in exchange.text(target["Arn"])
    assert "CuratedUndelivered" in exchange.text(target["DeadLetterConfig"]["Arn"])
    (page,) = re.findall(r"docs/runbooks/[\w-]+\.md", target["InputTransformer"]["InputTemplate"])
    assert (ROOT / page).is_file()
    ((_, policy),) = [
        each for each in exchange.of_type("AWS::SNS::TopicPolicy") if each[0].startswith("Foundation/OperatorsTickets")
    ]
    (publish,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert "events.amazonaws.com" in publish["Principal"]["Service"]
    assert publish["Condition"] == {"StringEquals": {"aws:SourceAccount": exchange.config.account}}
    ((_, queue),) = lake(exchange, "AWS::SQS::QueuePolicy", "CuratedUndelivered")
    assert {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [path.split("/")[1], "Arn"]}}} in [
        statement.get("Condition") for statement in queue["PolicyDocument"]["Statement"]
    ]


def test_silence_of_the_job_and_what_it_set_aside_ring(exchange: Any) -> None:
    ((_, made),) = lake(exchange, "AWS::Logs::MetricFilter", "Curated")
    assert made["FilterPattern"] == f'{{ $.{SET_ASIDE} = "*" }}'
    (alarm,) = [
        alarm for _, alarm in exchange.of_type("AWS::CloudWatch::Alarm") if alarm.get("MetricName") == LAKE_SET_ASIDE
    ]
    assert (alarm["TreatMissingData"], alarm["Threshold"]) == ("breaching", 0)
    # A normal night is one good half day between two silent ones; a day and a half without one is not.
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (43_200, 3, 3)
    assert LOG_BOUNDS[LAKE_SET_ASIDE].silence_is_bad
    assert "lake.md" in exchange.text(alarm["AlarmDescription"])
