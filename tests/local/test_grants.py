"""Grants by running: what a template does not grant is refused here as in AWS, and the refusal names it."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.assembly import Assembly, Stack
from local.callers import Caller
from local.cloud import Cloud
from local.deploy import Deployment, deploy
from local.grants.book import Book, written
from local.grants.guard import Guard
from local.grants.inline import UngrantedDeliveryError, check
from local.grants.requests import Known, Request, UnknownRequestError, needs
from tests.local.world import ACCOUNT, REGION

ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}],
}


def allow(action: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def arn(logical_id: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [logical_id, "Arn"]}


GRANTS = [
    allow("sqs:SendMessage", arn("Queue")),
    allow(
        ["kms:GenerateDataKey", "kms:Decrypt"],
        arn("Key"),
        Condition={"StringLike": {"kms:ViaService": "*.amazonaws.com"}},
    ),
    allow("s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/in/*"}),
    allow(["dynamodb:PutItem", "dynamodb:Query"], [arn("Table"), {"Fn::Sub": "${Table.Arn}/index/*"}]),
    allow("states:StartExecution", {"Ref": "Machine"}),
    allow("sqs:ReceiveMessage", arn("Queue")),
]
DEFINITION = {
    "StartAt": "Send",
    "States": {
        "Send": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage",
            "Parameters": {"QueueUrl": "${Url}", "MessageBody": "hello"},
            "End": True,
        }
    },
}
RESOURCES: dict[str, Any] = {
    "Key": {
        "Type": "AWS::KMS::Key",
        "Properties": {"KeyPolicy": {"Version": "2012-10-17", "Statement": [allow("kms:*", "*", Principal=ROOT)]}},
    },
    "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": arn("Key")}},
    "QueuePolicy": {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": [{"Ref": "Queue"}],
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    allow(
                        "sqs:SendMessage",
                        arn("Queue"),
                        Principal={"Service": "events.amazonaws.com"},
                        Condition={"ArnEquals": {"aws:SourceArn": "arn:aws:events:r:a:rule/ours"}},
                    ),
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "sqs:*",
                        "Resource": arn("Queue"),
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    },
                ],
            },
        },
    },
    "Bucket": {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [
                    {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn("Key")}}
                ]
            }
        },
    },
    "Table": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    },
    "Machine": {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "DefinitionString": {"Fn::Sub": [json.dumps(DEFINITION), {"Url": {"Ref": "Queue"}}]},
            "RoleArn": arn("MachineRole"),
        },
    },
    "MachineRole": {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": TRUST,
            "Policies": [
                {
                    "PolicyName": "p",
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            allow("sqs:SendMessage", arn("Queue")),
                            allow(["kms:GenerateDataKey", "kms:Decrypt"], arn("Key")),
                        ],
                    },
                }
            ],
        },
    },
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
    "Policy": {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": "p",
            "PolicyDocument": {"Version": "2012-10-17", "Statement": GRANTS},
            "Roles": [{"Ref": "Role"}],
        },
    },
}


class World:
    """One deployment whose calls are judged."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.record = folder / "grants.jsonl"
        self.deployment: Deployment
        self.book: Book
        self.guard: Guard

    def start(self, change: Callable[[dict[str, Any]], None] = lambda _resources: None) -> "World":
        resources = json.loads(json.dumps(RESOURCES))
        change(resources)
        stack = Stack(name="S", account=ACCOUNT, region=REGION, template={"Resources": resources})
        self.deployment = deploy(Assembly("Test", (stack,)), self.cloud)
        self.book = written(self.deployment, pytest.fail)
        self.guard = Guard(self.book, self.record, is_enforced=True)
        self.cloud.guard(self.guard)
        return self

    def at(self, logical_id: str) -> Any:
        return self.deployment.resources[f"S/{logical_id}"].placed

    def as_role(self, service: str, role: str = "Role") -> Any:
        return self.cloud.client(service, None, Caller(role=self.at(role).attributes["Arn"]))

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    made = World(cloud, tmp_path)
    yield made
    cloud.guard(None)
    with contextlib.suppress(AttributeError):  # it did not start
        made.guard.close()


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}
    return str(caught.value)


def test_what_is_granted_passes_and_is_recorded_once_with_the_statement_that_allows_it(world: World) -> None:
    sqs = world.start().as_role("sqs")
    for _ in range(3):
        sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello")
    world.as_role("s3").put_object(Bucket=world.at("Bucket").ref, Key="in/a", Body=b"x")
    told = [(each["action"], each["allowed"], each["by"]) for each in world.calls()]
    assert told == [
        ("sqs:SendMessage", True, "S/Policy#1"),
        ("kms:GenerateDataKey", True, "S/Policy#2"),
        ("kms:Decrypt", True, "S/Policy#2"),
        ("s3:PutObject", True, "S/Policy#3"),
        ("kms:GenerateDataKey", True, "S/Policy#2"),
    ]
    assert world.calls()[1]["context"]["kms:viaservice"] == [f"sqs.{REGION}.amazonaws.com"]


def test_what_is_not_granted_is_refused_by_name_in_every_protocol(world: World) -> None:
    role = world.start().at("Role").attributes["Arn"]
    queue = world.at("Queue")
    message = refused(lambda: world.as_role("sqs").purge_queue(QueueUrl=queue.ref))
    assert f"{role} is not authorized to perform: sqs:PurgeQueue on resource: {queue.attributes['Arn']}" in message
    bucket = world.at("Bucket").ref
    assert f"s3:PutObject on resource: arn:aws:s3:::{bucket}/out" in refused(
        lambda: world.as_role("s3").put_object(Bucket=bucket, Key="out", Body=b"x")
    )
    assert "dynamodb:GetItem" in refused(
        lambda: world.as_role("dynamodb").get_item(TableName=world.at("Table").ref, Key={"k": {"S": "a"}})
    )
    items = [{"Put": {"TableName": world.at("Table").ref, "Item": {"k": {"S": "a"}}}}]
    world.as_role("dynamodb").transact_write_items(TransactItems=items)
    items.append({"Delete": {"TableName": world.at("Table").ref, "Key": {"k": {"S": "b"}}}})
    assert "dynamodb:DeleteItem" in refused(lambda: world.as_role("dynamodb").transact_write_items(TransactItems=items))
    assert "kms:Decrypt" in refused(  # granted only by way of a service
        lambda: world.as_role("kms").decrypt(KeyId=world.at("Key").ref, CiphertextBlob=b"x")
    )
    assert "sns:Publish" in refused(lambda: world.as_role("sns").publish(TopicArn="arn:aws:sns:r:a:t", Message="m"))
    assert "cannot be judged: no rule for calls of iam" in refused(lambda: world.as_role("iam").list_roles())


def test_a_role_without_policies_may_do_nothing(world: World) -> None:
    caller = Caller(role="no role")
    sqs = world.start().cloud.client("sqs", None, caller)
    assert "no role is not authorized" in refused(
        lambda: sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello")
    )


def test_mutant_a_deleted_grant_of_a_queue(world: World) -> None:
    def without_queue(resources: dict[str, Any]) -> None:
        del resources["Policy"]["Properties"]["PolicyDocument"]["Statement"][0]

    sqs = world.start(without_queue).as_role("sqs")
    assert "sqs:SendMessage" in refused(lambda: sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello"))


def test_mutant_a_deleted_grant_of_the_key_alone(world: World) -> None:
    def without_key(resources: dict[str, Any]) -> None:
        del resources["Policy"]["Properties"]["PolicyDocument"]["Statement"][1]

    sqs = world.start(without_key).as_role("sqs")
    assert "kms:GenerateDataKey" in refused(
        lambda: sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello")
    )


def test_mutant_a_key_whose_policy_hands_nothing_on(world: World) -> None:
    def closed(resources: dict[str, Any]) -> None:
        resources["Key"]["Properties"]["KeyPolicy"]["Statement"][0]["Principal"] = {"Service": "logs.amazonaws.com"}

    sqs = world.start(closed).as_role("sqs")
    assert "kms:GenerateDataKey" in refused(
        lambda: sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello")
    )


def test_a_boundary_bounds(world: World) -> None:
    def bounded(resources: dict[str, Any]) -> None:
        resources["Boundary"] = {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": {"Version": "2012-10-17", "Statement": [allow("s3:*", "*")]}},
        }
        resources["Role"]["Properties"]["PermissionsBoundary"] = {"Ref": "Boundary"}

    sqs = world.start(bounded).as_role("sqs")
    assert "sqs:SendMessage" in refused(lambda: sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello"))


@pytest.mark.parametrize(("rule", "allowed"), [("ours", True), ("theirs", False)])
def test_a_service_needs_the_policy_of_the_queue_and_of_its_key(world: World, rule: str, *, allowed: bool) -> None:
    def open_key(resources: dict[str, Any]) -> None:
        statement = allow(["kms:GenerateDataKey", "kms:Decrypt"], "*", Principal={"Service": "events.amazonaws.com"})
        resources["Key"]["Properties"]["KeyPolicy"]["Statement"].append(statement)

    world.start(open_key)
    caller = Caller(service="events.amazonaws.com", source=f"arn:aws:events:r:a:rule/{rule}")
    sqs = world.cloud.client("sqs", None, caller)
    if allowed:
        sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello")
    else:
        message = refused(lambda: sqs.send_message(QueueUrl=world.at("Queue").ref, MessageBody="hello"))
        assert "events.amazonaws.com for arn:aws:events:r:a:rule/theirs" in message


@pytest.mark.parametrize("is_granted", [True, False])
def test_a_state_machine_acts_as_its_role(world: World, *, is_granted: bool) -> None:
    def change(resources: dict[str, Any]) -> None:
        if not is_granted:
            del resources["MachineRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][0]

    world.start(change)
    client = world.cloud.client("stepfunctions")
    started = world.as_role("stepfunctions").start_execution(stateMachineArn=world.at("Machine").ref, name="x")
    told = {"status": "RUNNING"}
    for _ in range(200):
        told = client.describe_execution(executionArn=started["executionArn"])
        if told["status"] != "RUNNING":
            break
        time.sleep(0.05)
    assert told["status"] == ("SUCCEEDED" if is_granted else "FAILED")
    if not is_granted:
        assert "MachineRole" in str(world.guard.refused)


@pytest.mark.parametrize(
    ("statement", "is_open"),
    [
        (allow("sqs:SendMessage", arn("Queue"), Principal={"Service": "sns.amazonaws.com"}), True),
        (allow("sqs:SendMessage", arn("Queue"), Principal={"Service": "s3.amazonaws.com"}), False),
    ],
)
def test_what_moto_delivers_by_itself_is_judged_at_the_start(
    world: World, statement: dict[str, Any], *, is_open: bool
) -> None:
    def follow(resources: dict[str, Any]) -> None:
        resources["Topic"] = {"Type": "AWS::SNS::Topic"}
        resources["Follows"] = {
            "Type": "AWS::SNS::Subscription",
            "Properties": {"TopicArn": {"Ref": "Topic"}, "Protocol": "sqs", "Endpoint": arn("Queue")},
        }
        resources["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"].append(statement)
        use = allow(["kms:GenerateDataKey", "kms:Decrypt"], "*", Principal={"Service": "sns.amazonaws.com"})
        resources["Key"]["Properties"]["KeyPolicy"]["Statement"].append(use)

    world.start(follow)
    if is_open:
        assert check(world.deployment, world.guard, ACCOUNT) == 1
    else:
        with pytest.raises(UngrantedDeliveryError, match=r"sns\.amazonaws\.com for arn:aws:sns:.* sqs:SendMessage"):
            check(world.deployment, world.guard, ACCOUNT)


def test_a_book_survives_being_written_and_read(world: World) -> None:
    book = world.start().book
    again = Book.load(book.dump())
    assert [each for each in again.statements()] == [each for each in book.statements()]  # noqa: C416 - generators


def request(service: str, *, target: str = "", body: Any = None, **more: Any) -> Request:
    form = isinstance(body, str)
    return Request(
        known=more.pop("known", Known()),
        account=ACCOUNT,
        region=REGION,
        service=service,
        target=target,
        method=more.pop("method", "POST"),
        path=more.pop("path", "/"),
        query=more.pop("query", ""),
        headers={"CONTENT_TYPE": "application/x-www-form-urlencoded" if form else "", **more},
        body=body.encode() if form else json.dumps(body or {}).encode(),
    )


PREFIX = f"{REGION}:{ACCOUNT}"
STREAM = f"arn:aws:kinesis:{PREFIX}:stream/s"
ITEM = {"TableName": "t"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            request("dynamodb", target="DynamoDB_20120810.Query", body={**ITEM, "IndexName": "i"}),
            [("dynamodb:Query", f"arn:aws:dynamodb:{PREFIX}:table/t/index/i")],
        ),
        (
            request("dynamodb", target="DynamoDB_20120810.BatchWriteItem", body={"RequestItems": {"a": [], "b": []}}),
            [("dynamodb:BatchWriteItem", f"arn:aws:dynamodb:{PREFIX}:table/{name}") for name in "ab"],
        ),
        (
            request(
                "dynamodb", target="DynamoDBStreams_20120810.GetRecords", body={"ShardIterator": "arn:t/stream/1|1|x"}
            ),
            [("dynamodb:GetRecords", "arn:t/stream/1")],
        ),
        (
            request(
                "kinesis",
                target="Kinesis_20131202.PutRecords",
                body={"StreamARN": STREAM},
                known=Known({STREAM: "arn:aws:kms:r:a:key/k"}),
            ),
            [("kinesis:PutRecords", STREAM), ("kms:GenerateDataKey", "arn:aws:kms:r:a:key/k")],
        ),
        (
            request("events", target="AWSEvents.PutEvents", body={"Entries": [{"EventBusName": "b"}, {}]}),
            [("events:PutEvents", f"arn:aws:events:{PREFIX}:event-bus/{name}") for name in ("b", "default")],
        ),
        (request("sns", body="Action=PublishBatch&TopicArn=arn:t"), [("sns:Publish", "arn:t")]),
        (
            request("ssm", target="AmazonSSM.GetParameters", body={"Names": ["/a", "b"]}),
            [("ssm:GetParameters", f"arn:aws:ssm:{PREFIX}:parameter/{name}") for name in "ab"],
        ),
        (
            request(
                "secretsmanager",
                target="secretsmanager.GetSecretValue",
                body={"SecretId": "n"},
                known=Known(secrets={"n": "arn:n-x"}),
            ),
            [("secretsmanager:GetSecretValue", "arn:n-x")],
        ),
        (
            request("lambda", path="/2015-03-31/functions/arn%3Aaws%3Alambda%3Ar%3Aa%3Afunction%3Af/invocations"),
            [("lambda:InvokeFunction", f"arn:aws:lambda:{PREFIX}:function:f")],
        ),
        (
            request(
                "states",
                target="AWSStepFunctions.SendTaskSuccess",
                body={"taskToken": "x"},
                known=Known(machine_of={"x": "arn:m"}.__getitem__),
            ),
            [("states:SendTaskSuccess", "arn:m")],
        ),
        (request("states", target="AWSStepFunctions.SendTaskSuccess", body={"taskToken": "nobody's"}), []),
        (
            request(
                "ses",
                path="/v2/email/outbound-emails",
                body={"FromEmailAddress": "Bursa <no@x.example>", "Content": {"Template": {"TemplateName": "t"}}},
            ),
            [
                ("ses:SendEmail", f"arn:aws:ses:{PREFIX}:identity/x.example"),
                ("ses:SendEmail", f"arn:aws:ses:{PREFIX}:template/t"),
            ],
        ),
        (request("s3", method="GET", path="/b", query="list-type=2&prefix=p"), [("s3:ListBucket", "arn:aws:s3:::b")]),
        (request("s3", method="HEAD", path="/b/k%20l"), [("s3:GetObject", "arn:aws:s3:::b/k l")]),
        (request("s3", method="GET", path="/b/k", query="versionId=1"), [("s3:GetObjectVersion", "arn:aws:s3:::b/k")]),
        (request("s3", method="POST", path="/b/k", query="uploads"), [("s3:PutObject", "arn:aws:s3:::b/k")]),
        (
            request(
                "s3",
                method="PUT",
                path="/b/k",
                HTTP_X_AMZ_COPY_SOURCE="/a/s?versionId=1",
                HTTP_X_AMZ_OBJECT_LOCK_MODE="GOVERNANCE",
            ),
            [
                ("s3:PutObject", "arn:aws:s3:::b/k"),
                ("s3:GetObject", "arn:aws:s3:::a/s"),
                ("s3:PutObjectRetention", "arn:aws:s3:::b/k"),
            ],
        ),
        (request("sts", body="Action=GetCallerIdentity"), []),
        (request("cognito-idp", target="AWSCognitoIdentityProviderService.InitiateAuth", body={}), []),
    ],
    ids=lambda value: f"{value.service}-{value.action or value.method}" if isinstance(value, Request) else "",
)
def test_what_a_request_needs(asked: Request, expected: list[tuple[str, str]]) -> None:
    assert [(action, resource) for action, resource, _context in needs(asked)] == expected


@pytest.mark.parametrize(
    "asked",
    [
        request("gamelift"),
        request("s3", method="PUT", path="/b", query="policy"),
        request("dynamodb", target="DynamoDB_20120810.ExecuteStatement", body={"Statement": "DELETE"}),
        request("states", target="AWSStepFunctions.CreateStateMachine", body={"name": "x"}),
    ],
)
def test_a_request_that_nobody_knows_cannot_be_judged(asked: Request) -> None:
    with pytest.raises(UnknownRequestError, match=f"no rule for.* {asked.service}"):
        needs(asked)
