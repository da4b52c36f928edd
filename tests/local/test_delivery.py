"""Delivery, against a real moto and real workers: what templates declare comes about, also when handlers fail."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.assembly import Assembly, Asset, Stack
from local.cloud import Cloud
from local.delivery.dispatcher import Dispatcher
from local.delivery.mappings import MappingError
from local.delivery.rules import RuleError
from local.delivery.schedules import UnknownScheduleError
from local.deploy import Deployment, deploy
from tests.local.world import ACCOUNT, REGION

WAIT_S = 40.0
HANDLERS = """
import json, os, time
import boto3

def _keep(event):
    queue = os.environ["SEEN"]
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(event))

def keep(event, context):
    _keep({"event": event, "function": context.function_name})
    return {"ok": True}

def fail(event, context):
    _keep(event)
    raise ValueError("not today")

def hang(event, context):
    time.sleep(60)

def leave(event, context):
    os._exit(3)

def poison(event, context):
    _keep([base(r) for r in event["Records"]])
    if any(base(r) == "bad" for r in event["Records"]):
        raise ValueError("poison")

def partly(event, context):
    _keep([base(r) for r in event["Records"]])
    ids = [identity(r) for r in event["Records"] if base(r) == "bad"]
    return {"batchItemFailures": [{"itemIdentifier": i} for i in ids]}

def base(record):
    import base64
    return base64.b64decode(record["kinesis"]["data"]).decode() if "kinesis" in record else record["body"]

def identity(record):
    return record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["messageId"]

def environment(event, context):
    return {"env": dict(os.environ), "cwd": os.getcwd(), "left_ms": context.get_remaining_time_in_millis()}

def wider(event, context):
    import tests
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["lambda.amazonaws.com"]}},
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["states.amazonaws.com"]}},
    ],
}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
OPEN = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}],
}


def function(handler: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": "assets", "S3Key": "code.zip"},
            "Environment": {"Variables": {"SEEN": {"Ref": "Seen"}}},
            "Handler": f"runtime.sample.handler.{handler}",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Runtime": "python3.13",
            "Timeout": 10,
            **properties,
        },
    }


def permitted(function_name: str, service: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Fn::GetAtt": [function_name, "Arn"]},
            "Principal": f"{service}.amazonaws.com",
        },
    }


QUEUE = {"Type": "AWS::SQS::Queue"}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {
        "AssumeRolePolicyDocument": TRUST,
        "Policies": [{"PolicyName": "all", "PolicyDocument": ALL}],
    },
}


class World:
    """One deployment that is delivered, and what its handlers saw."""

    def __init__(self, cloud: Cloud, tmp_path: Path) -> None:
        self.cloud = cloud
        self._tmp = tmp_path
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.dispatcher: Dispatcher
        self.deployment: Deployment

    def start(self, resources: dict[str, Any]) -> "World":
        folder = self._tmp / "asset" / "runtime" / "sample"
        folder.mkdir(parents=True)
        (folder / "handler.py").write_text(HANDLERS)
        stack = Stack(
            name="Dev-Sample",
            account=ACCOUNT,
            region=REGION,
            template={
                "Resources": {
                    "Role": ROLE,
                    "Seen": QUEUE,
                    "Open": {
                        "Type": "AWS::SQS::QueuePolicy",
                        "Properties": {
                            "PolicyDocument": OPEN,
                            "Queues": [
                                {"Ref": name}
                                for name, it in {"Seen": QUEUE, **resources}.items()
                                if it["Type"] == QUEUE["Type"]
                            ],
                        },
                    },
                    **resources,
                }
            },
            assets=(Asset(source=self._tmp / "asset", bucket="assets", key="code.zip", is_zip=True),),
        )
        self.deployment = deploy(Assembly("Dev", (stack,)), self.cloud)
        logs = self._tmp / "logs"
        logs.mkdir()
        self.dispatcher = Dispatcher(
            self.deployment,
            self.cloud,
            logs=logs,
            inline=self._tmp / "inline",
            inject=lambda _function: {
                "AWS_ACCESS_KEY_ID": "LOCALLAUNCHER",
                "AWS_SECRET_ACCESS_KEY": "x",
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self.cloud.url,
                "NO_PROXY": "localhost",
            },
            now=lambda: self.now,
        )
        self.dispatcher.start()
        return self

    def at(self, logical_id: str) -> Any:
        return self.deployment.resources[f"Dev-Sample/{logical_id}"].placed

    def messages(self, logical_id: str = "Seen", count: int = 1) -> list[Any]:
        """Return `count` messages of a queue; fewer if they do not come in time."""
        sqs = self.cloud.client("sqs")
        found: list[Any] = []
        deadline = time.monotonic() + WAIT_S
        while len(found) < count and time.monotonic() < deadline:
            told = sqs.receive_message(QueueUrl=self.at(logical_id).ref, MaxNumberOfMessages=10).get("Messages", [])
            for message in told:
                sqs.delete_message(QueueUrl=self.at(logical_id).ref, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
            if not told:
                time.sleep(0.05)
        return found

    def nothing_more(self, logical_id: str = "Seen") -> bool:
        assert self.dispatcher.settle(WAIT_S)
        return "Messages" not in self.cloud.client("sqs").receive_message(QueueUrl=self.at(logical_id).ref)

    def invoke(self, logical_id: str, event: Any = None, **how: Any) -> dict[str, Any]:
        told = self.cloud.client("lambda").invoke(
            FunctionName=self.at(logical_id).ref, Payload=json.dumps(event or {}).encode(), **how
        )
        return {**told, "Payload": json.loads(told["Payload"].read() or b"null")}

    def put_event(self, detail: Any, bus: str = "Bus") -> None:
        told = self.cloud.client("events").put_events(
            Entries=[
                {
                    "EventBusName": self.at(bus).ref,
                    "Source": "bursa",
                    "DetailType": "Opened",
                    "Detail": json.dumps(detail),
                }
            ]
        )
        assert told["FailedEntryCount"] == 0


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    made = World(cloud, tmp_path)
    yield made
    with contextlib.suppress(AttributeError):
        made.dispatcher.stop()


def test_a_function_runs_with_its_own_environment_and_code_alone(world: World) -> None:
    world.start({"F": function("environment"), "Wider": function("wider")})
    told = world.invoke("F")
    assert told["StatusCode"] == 200
    environment = told["Payload"]["env"]
    declared = {name for name in environment if not name.startswith("AWS_LAMBDA_")}
    assert declared - {"LC_CTYPE"} == {
        "SEEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "NO_PROXY",
    }
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == world.at("F").ref
    assert 0 < told["Payload"]["left_ms"] <= 10_000
    wider = world.invoke("Wider")
    assert wider["FunctionError"] == "Unhandled"
    assert wider["Payload"]["errorType"] == "ModuleNotFoundError"  # the checkout is not on its path


def test_an_unknown_function_is_a_true_error(world: World) -> None:
    world.start({})
    with pytest.raises(world.cloud.client("lambda").exceptions.ResourceNotFoundException):
        world.cloud.client("lambda").invoke(FunctionName="nobody")


def test_a_handler_that_overruns_is_killed_and_the_next_call_starts_anew(world: World) -> None:
    world.start({"Hang": function("hang", Timeout=1), "Leave": function("leave")})
    begun = time.monotonic()
    told = world.invoke("Hang")
    assert told["FunctionError"] == "Unhandled"
    assert told["Payload"]["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert time.monotonic() - begun < WAIT_S
    assert world.invoke("Hang")["Payload"]["errorType"] == "Sandbox.Timedout"
    assert world.invoke("Leave")["Payload"]["errorType"] == "Runtime.ExitError"
    assert world.dispatcher.runner.counts["Sample-Hang"].timeouts == 2
    assert world.dispatcher.runner.worker_count == 0


def test_reserved_concurrency_is_respected(world: World) -> None:
    world.start({"Off": function("keep", ReservedConcurrentExecutions=0)})
    with pytest.raises(world.cloud.client("lambda").exceptions.TooManyRequestsException):
        world.invoke("Off")
    assert world.dispatcher.runner.counts["Sample-Off"].throttles == 1


def test_an_asynchronous_call_is_tried_three_times_and_then_buried(world: World) -> None:
    world.start(
        {
            "Dead": QUEUE,
            "Failed": QUEUE,
            "F": function("fail", DeadLetterConfig={"TargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}}),
            "Config": {
                "Type": "AWS::Lambda::EventInvokeConfig",
                "Properties": {
                    "FunctionName": {"Ref": "F"},
                    "Qualifier": "$LATEST",
                    "MaximumRetryAttempts": 1,
                    "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Failed", "Arn"]}}},
                },
            },
        }
    )
    assert world.invoke("F", {"n": 1}, InvocationType="Event")["StatusCode"] == 202
    assert world.messages(count=2) == [{"n": 1}, {"n": 1}]
    assert world.messages("Dead") == [{"n": 1}]
    (failed,) = world.messages("Failed")
    assert failed["requestContext"]["condition"] == "RetriesExhausted"
    assert failed["requestContext"]["approximateInvokeCount"] == 2
    assert failed["requestPayload"] == {"n": 1}
    assert failed["responsePayload"]["errorMessage"] == "not today"
    assert world.nothing_more()


def test_a_queue_is_followed_and_only_failures_come_back(world: World) -> None:
    world.start(
        {
            "Dead": QUEUE,
            "Q": {
                "Type": "AWS::SQS::Queue",
                "Properties": {
                    "VisibilityTimeout": 4,
                    "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 2},
                },
            },
            "F": function("partly", Timeout=4),  # enough for a call to AWS on a busy machine, too
            "Mapping": mapping(
                "Q", FunctionResponseTypes=["ReportBatchItemFailures"], MaximumBatchingWindowInSeconds=1
            ),
        }
    )
    for body in ("good", "bad", "fine"):
        world.cloud.client("sqs").send_message(QueueUrl=world.at("Q").ref, MessageBody=body)
    assert world.messages(count=2) == [["good", "bad", "fine"], ["bad"]]
    sqs = world.cloud.client("sqs")
    deadline = time.monotonic() + WAIT_S
    while not (dead := sqs.receive_message(QueueUrl=world.at("Dead").ref).get("Messages")):
        assert time.monotonic() < deadline
        sqs.receive_message(QueueUrl=world.at("Q").ref)  # moto moves a message when someone asks
        time.sleep(0.1)
    assert dead[0]["Body"] == "bad"


def mapping(source: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": [source, "Arn"]},
            "FunctionName": {"Ref": "F"},
            **properties,
        },
    }


def put(world: World, *records: str) -> None:
    world.cloud.client("kinesis").put_records(
        StreamName=world.at("S").ref, Records=[{"Data": record.encode(), "PartitionKey": "k"} for record in records]
    )


STREAM = {"Type": "AWS::Kinesis::Stream", "Properties": {"ShardCount": 1}}


def test_a_poisoned_record_is_found_by_halves_and_told_of_while_the_rest_goes_on_in_order(world: World) -> None:
    world.start(
        {
            "S": STREAM,
            "Parked": QUEUE,
            "F": function("poison"),
            "Mapping": mapping(
                "S",
                StartingPosition="TRIM_HORIZON",
                BisectBatchOnFunctionError=True,
                MaximumRetryAttempts=1,
                MaximumBatchingWindowInSeconds=1,
                DestinationConfig={"OnFailure": {"Destination": {"Fn::GetAtt": ["Parked", "Arn"]}}},
            ),
        }
    )
    put(world, "a", "bad", "c", "d")
    (parked,) = world.messages("Parked")
    assert parked["KinesisBatchInfo"]["batchSize"] == 1
    assert parked["KinesisBatchInfo"]["startSequenceNumber"] == parked["KinesisBatchInfo"]["endSequenceNumber"]
    assert parked["requestContext"]["condition"] == "RetryAttemptsExhausted"
    put(world, "e")
    seen = world.messages(count=7)
    assert seen == [["a", "bad", "c", "d"], ["a", "bad"], ["a"], ["bad"], ["bad"], ["c", "d"], ["e"]]
    assert world.nothing_more()


def test_a_reported_failure_goes_on_from_there(world: World) -> None:
    world.start(
        {
            "S": STREAM,
            "F": function("partly"),
            "Mapping": mapping(
                "S",
                StartingPosition="TRIM_HORIZON",
                FunctionResponseTypes=["ReportBatchItemFailures"],
                MaximumRetryAttempts=1,
                MaximumBatchingWindowInSeconds=1,
            ),
        }
    )
    put(world, "a", "bad", "c")
    assert world.messages(count=3) == [["a", "bad", "c"], ["bad", "c"], ["bad", "c"]]
    assert world.nothing_more()


def test_latest_begins_behind_what_is_there_and_filters_choose(world: World) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
        },
    }
    follows = mapping(
        "T",
        EventSourceArn={"Fn::GetAtt": ["T", "StreamArn"]},
        StartingPosition="LATEST",
        FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
    )
    world.start({"T": table, "F": function("keep"), "Mapping": follows})
    client = world.cloud.client("dynamodb")
    for number in (1, 2):
        client.put_item(TableName=world.at("T").ref, Item={"k": {"S": "one"}, "n": {"N": str(number)}})
    client.put_item(TableName=world.at("T").ref, Item={"k": {"S": "two"}})
    seen = [
        record["dynamodb"]["Keys"]["k"]["S"]
        for message in world.messages(count=1) + (world.messages(count=1) if not world.nothing_more() else [])
        for record in message["event"]["Records"]
    ]
    assert "one" in seen
    assert seen.count("one") == 1


def bus_with(targets: list[dict[str, Any]], **rule: Any) -> dict[str, Any]:
    return {
        "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "bursa"}},
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventBusName": {"Ref": "Bus"},
                "EventPattern": {"detail": {"kind": ["wash"]}},
                "Targets": targets,
                **rule,
            },
        },
    }


def test_an_event_reaches_each_target_in_the_shape_it_asks_for(world: World) -> None:
    lambda_target = {"Id": "f", "Arn": {"Fn::GetAtt": ["F", "Arn"]}, "InputPath": "$.detail"}
    queue_target = {
        "Id": "q",
        "Arn": {"Fn::GetAtt": ["Other", "Arn"]},
        "InputTransformer": {
            "InputPathsMap": {"who": "$.detail.who"},
            "InputTemplate": '{"text": "by <who>", "who": <who>}',
        },
    }
    whole = {"Id": "w", "Arn": {"Fn::GetAtt": ["Whole", "Arn"]}}
    world.start(
        {
            "Other": QUEUE,
            "Whole": QUEUE,
            "F": function("keep"),
            "P": permitted("F", "events"),
            **bus_with([lambda_target, queue_target, whole]),
        }
    )
    world.put_event({"kind": "wash", "who": 'a"b'})
    world.put_event({"kind": "other"})
    assert [each["event"] for each in world.messages()] == [{"kind": "wash", "who": 'a"b'}]
    assert world.messages("Other") == [{"text": 'by a"b', "who": 'a"b'}]
    (event,) = world.messages("Whole")
    assert (event["account"], event["source"], event["detail-type"]) == (ACCOUNT, "bursa", "Opened")
    assert world.nothing_more()
    assert world.nothing_more("Other")


def test_mutant_a_pattern_that_cannot_match_shows(world: World) -> None:
    target = {"Id": "q", "Arn": {"Fn::GetAtt": ["Seen", "Arn"]}}
    world.start(bus_with([target], EventPattern={"detail": {"kind": ["wash"], "Kind": ["wash"]}}))
    world.put_event({"kind": "wash"})
    assert world.nothing_more()


def test_what_a_target_refuses_goes_to_its_dead_letters(world: World) -> None:
    target = {
        "Id": "q",
        "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:nobody",
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["Dead", "Arn"]}},
    }
    world.start({"Dead": QUEUE, **bus_with([target])})
    world.put_event({"kind": "wash"})
    assert world.messages("Dead")[0]["detail"] == {"kind": "wash"}


def test_a_disabled_rule_delivers_nothing(world: World) -> None:
    world.start({**bus_with([{"Id": "q", "Arn": {"Fn::GetAtt": ["Seen", "Arn"]}}], State="DISABLED")})
    world.put_event({"kind": "wash"})
    assert world.nothing_more()


def test_nothing_of_a_topic_leaves_the_machine(world: World) -> None:
    """An address that would answer is never asked; what it would have been told can be read in a queue."""
    with socket.create_server(("127.0.0.1", 0)) as pager:
        pager.settimeout(0.3)
        address = f"http://127.0.0.1:{pager.getsockname()[1]}/"
        receivers = {"http": address, "https": address.replace("http", "https"), "email": "a@example.com"}
        subscriptions = {
            f"To{protocol.title()}": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {"TopicArn": {"Ref": "T"}, "Protocol": protocol, "Endpoint": endpoint},
            }
            for protocol, endpoint in receivers.items()
        }
        world.start({"T": {"Type": "AWS::SNS::Topic"}, **subscriptions})
        world.cloud.client("sns").publish(TopicArn=world.at("T").ref, Message="the engine is down")
        with pytest.raises(TimeoutError):
            pager.accept()
    sns, sqs = world.cloud.client("sns"), world.cloud.client("sqs")
    for subscription in subscriptions:
        arn = world.at(subscription).ref
        queue = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["Endpoint"].rpartition(":")[2]
        (kept,) = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"])["Messages"]
        assert json.loads(kept["Body"])["Message"] == "the engine is down"


def test_a_topic_reaches_queues_and_functions(world: World) -> None:
    def follows(protocol: str, endpoint: str) -> dict[str, Any]:
        return {
            "Type": "AWS::SNS::Subscription",
            "Properties": {
                "TopicArn": {"Ref": "T"},
                "Protocol": protocol,
                "Endpoint": {"Fn::GetAtt": [endpoint, "Arn"]},
            },
        }

    world.start(
        {
            "T": {"Type": "AWS::SNS::Topic"},
            "Q": QUEUE,
            "F": function("keep"),
            "P": permitted("F", "sns"),
            "A": follows("lambda", "F"),
            "B": follows("sqs", "Q"),
        }
    )
    world.cloud.client("sns").publish(TopicArn=world.at("T").ref, Message="hello", Subject="s")
    (seen,) = world.messages()
    record = seen["event"]["Records"][0]
    assert (record["EventSource"], record["Sns"]["Message"], record["Sns"]["Subject"]) == ("aws:sns", "hello", "s")
    assert world.messages("Q")[0]["Message"] == "hello"


def test_a_state_machine_runs_functions_and_hears_of_their_errors(world: World) -> None:
    definition = {
        "StartAt": "Do",
        "States": {
            "Do": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": "${F}", "Payload.$": "$"},
                "Next": "Fail",
            },
            "Fail": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {"FunctionName": "${G}", "Payload": {}},
                "Catch": [{"ErrorEquals": ["ValueError"], "Next": "Caught"}],
                "End": True,
            },
            "Caught": {"Type": "Pass", "Result": {"is": "caught"}, "End": True},
        },
    }
    world.start(
        {
            "F": function("keep"),
            "G": function("fail"),
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "DefinitionString": {"Fn::Sub": [json.dumps(definition), {"F": {"Ref": "F"}, "G": {"Ref": "G"}}]},
                    "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                },
            },
        }
    )
    client = world.cloud.client("stepfunctions")
    arn = client.start_execution(stateMachineArn=world.at("Machine").ref, input='{"n": 7}', name="one")["executionArn"]
    deadline = time.monotonic() + WAIT_S
    while (told := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (told["status"], told["output"]) == ("SUCCEEDED", '{"is": "caught"}')
    assert world.messages(count=1)[0]["event"] == {"n": 7}


def test_schedules_fire_by_the_given_clock_and_by_name(world: World) -> None:
    world.start(
        {
            "F": function("keep"),
            "P": permitted("F", "events"),
            "Daily0123ABCD": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "ScheduleExpression": "cron(0 17 * * ? *)",
                    "Targets": [{"Id": "f", "Arn": {"Fn::GetAtt": ["F", "Arn"]}}],
                },
            },
            "Monthly": {
                "Type": "AWS::Scheduler::Schedule",
                "Properties": {
                    "FlexibleTimeWindow": {"Mode": "OFF"},
                    "ScheduleExpression": "cron(0 0 1 * ? *)",
                    "ScheduleExpressionTimezone": "Asia/Jakarta",
                    "State": "DISABLED",
                    "Target": {
                        "Arn": {"Fn::GetAtt": ["F", "Arn"]},
                        "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                        "Input": '{"at": "<aws.scheduler.scheduled-time>"}',
                    },
                },
            },
        }
    )
    assert world.nothing_more()
    world.now += timedelta(hours=17)
    (seen,) = world.messages()
    assert (seen["event"]["detail-type"], seen["event"]["time"]) == ("Scheduled Event", "2026-01-01T17:00:00Z")
    world.now += timedelta(hours=1)
    assert world.nothing_more()
    world.now += timedelta(days=32)  # two days late is once; what is disabled stays silent
    assert len(world.messages()) == 1
    assert world.nothing_more()
    assert world.dispatcher.run_schedule("monthly") == "Sample-Monthly"
    assert world.messages()[0]["event"] == {"at": "2026-02-02T18:00:00Z"}
    assert world.dispatcher.run_schedule("Sample-Daily") == "Sample-Daily"
    assert len(world.messages()) == 1
    with pytest.raises(UnknownScheduleError, match="there are: Sample-Daily, Sample-Monthly"):
        world.dispatcher.run_schedule("weekly")


def test_a_delivery_stream_writes_what_a_stream_carries(world: World) -> None:
    world.start(
        {
            "S": STREAM,
            "Lake": {"Type": "AWS::S3::Bucket"},
            "Firehose": {
                "Type": "AWS::KinesisFirehose::DeliveryStream",
                "Properties": {
                    "DeliveryStreamType": "KinesisStreamAsSource",
                    "KinesisStreamSourceConfiguration": {
                        "KinesisStreamARN": {"Fn::GetAtt": ["S", "Arn"]},
                        "RoleARN": {"Fn::GetAtt": ["Role", "Arn"]},
                    },
                    "ExtendedS3DestinationConfiguration": {
                        "BucketARN": {"Fn::GetAtt": ["Lake", "Arn"]},
                        "RoleARN": {"Fn::GetAtt": ["Role", "Arn"]},
                        "BufferingHints": {"IntervalInSeconds": 0},
                        "Prefix": "trades/!{timestamp:yyyy}/!{timestamp:MM}/",
                    },
                },
            },
        }
    )
    put(world, "1\n", "2\n")
    assert world.dispatcher.settle(WAIT_S)
    s3 = world.cloud.client("s3")
    (found,) = s3.list_objects_v2(Bucket=world.at("Lake").ref)["Contents"]
    assert found["Key"].startswith(f"trades/{datetime.now(UTC):%Y/%m}/")
    assert s3.get_object(Bucket=world.at("Lake").ref, Key=found["Key"])["Body"].read() == b"1\n2\n"


@pytest.mark.parametrize(
    ("resources", "error", "match"),
    [
        (
            bus_with([{"Id": "x", "Arn": f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/p"}]),
            RuleError,
            "nothing here delivers to arn:aws:codebuild",
        ),
        (
            {"S": STREAM, "F": function("keep"), "Mapping": mapping("S", StartingPosition="AT_TIMESTAMP")},
            MappingError,
            "not at a time",
        ),
    ],
)
def test_what_cannot_be_carried_out_stops_the_run_by_name(
    world: World, resources: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=f"Dev-Sample/.*{match}"):
        world.start(resources)


def test_workers_end_when_idle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.delivery.runner.IDLE_S", 0.0)
    world.start({"F": function("environment")})
    world.invoke("F")
    world.dispatcher.runner.tend()
    assert world.dispatcher.runner.worker_count == 0
