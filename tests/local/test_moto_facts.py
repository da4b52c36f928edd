"""What moto does, right and wrong, as far as the local run leans on it: a version that changes it shows here."""

import json
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import StateTaskService
from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
from moto.stepfunctions.parser.asl.utils import boto_client

from local.cloud import Cloud
from local.delivery import peek
from local.providers.awslambda import _ARCHIVE
from tests.local.world import ACCOUNT, REGION

SSL_ONLY: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::ssl", "arn:aws:s3:::ssl/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ],
}


def bucket(cloud: Cloud, name: str) -> Any:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def test_the_region_has_three_zones(cloud: Cloud) -> None:
    zones = cloud.client("ec2").describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneName"] for zone in zones] == [f"{REGION}{letter}" for letter in "abc"]


def test_path_style_is_recognized_by_the_name_localhost(cloud: Cloud) -> None:
    s3 = bucket(cloud, "by-path")
    s3.put_object(Bucket="by-path", Key="a b/ü+%", Body=b"x")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="by-path")["Contents"]] == ["a b/ü+%"]


def test_wrong_a_policy_that_demands_tls_denies_every_object(cloud: Cloud) -> None:
    """So conditional statements are never put (providers/s3.py)."""
    s3 = bucket(cloud, "ssl")
    s3.put_bucket_policy(Bucket="ssl", Policy=json.dumps(SSL_ONLY))
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket="ssl", Key="k", Body=b"x")


def test_a_write_once_object_cannot_be_deleted(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(
        Bucket="locked", ObjectLockEnabledForBucket=True, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=rule)
    version = s3.put_object(Bucket="locked", Key="k", Body=b"x")["VersionId"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket="locked", Key="k", VersionId=version)


def test_conditional_writes_of_objects(cloud: Cloud) -> None:
    s3 = bucket(cloud, "conditional")
    s3.put_object(Bucket="conditional", Key="k", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="conditional", Key="k", Body=b"2", IfNoneMatch="*")


def test_kms_binds_a_ciphertext_to_its_context(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"s", EncryptionContext={"api_key": "a"})["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"api_key": "a"})["Plaintext"] == b"s"
    with pytest.raises(ClientError, match="InvalidCiphertext"):
        kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"api_key": "b"})


def test_kms_ciphertexts_begin_with_the_id_of_their_key(cloud: Cloud) -> None:
    """By which a disabled key is recognized in a Decrypt that names none (refusals.py)."""
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    assert kms.encrypt(KeyId=key, Plaintext=b"s")["CiphertextBlob"].startswith(key.encode())


def test_wrong_a_signature_of_a_digest_verifies_nowhere_else(cloud: Cloud) -> None:
    """So it is refused before moto is asked (refusals.py)."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - only here
    from moto.backends import get_backend  # noqa: PLC0415 - only here

    kms = cloud.client("kms")
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    signer = get_backend("kms")[ACCOUNT][REGION].keys[key].private_key
    signature = signer.sign(b"d" * 32, "ECDSA_SHA_256")
    with pytest.raises(InvalidSignature):
        signer.private_key.public_key().verify(signature, b"d" * 32, ECDSA(Prehashed(SHA256())))


def test_wrong_a_transaction_is_applied_again_under_the_same_token() -> None:
    """So the gate remembers tokens (refusals.py). moto is asked without the gate."""
    assert "ClientRequestToken" not in _source("moto.dynamodb.responses")


def test_dynamodb_amounts_of_38_digits_are_exact_when_stored(cloud: Cloud) -> None:
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName="n",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    number = "9" * 38
    dynamodb.put_item(TableName="n", Item={"k": {"S": "a"}, "n": {"N": number}})
    assert dynamodb.get_item(TableName="n", Key={"k": {"S": "a"}})["Item"]["n"] == {"N": number}


def test_on_demand_streams_have_four_shards_and_small_sequence_numbers(cloud: Cloud) -> None:
    kinesis = cloud.client("kinesis")
    kinesis.create_stream(StreamName="s", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    summary = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 4
    assert kinesis.put_record(StreamName="s", Data=b"x", PartitionKey="k")["SequenceNumber"] == "1"


def test_wrong_a_queue_cannot_be_created_again_with_other_attributes(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    sqs.create_queue(QueueName="q")
    with pytest.raises(ClientError, match=r"QueueNameExists|QueueAlreadyExists"):
        sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "1"})


def test_wrong_events_for_a_lambda_fail_the_whole_call(cloud: Cloud) -> None:
    """So rules get only targets that moto serves (providers/events.py)."""
    events = cloud.client("events")
    events.put_rule(Name="r", EventPattern='{"source": ["s"]}')
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
    with pytest.raises(ClientError, match="500"):
        events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])


def test_roles_may_hold_policies_that_aws_manages(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore")


def test_public_image_parameters_are_served(cloud: Cloud) -> None:
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-arm64"
    assert cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"].startswith("ami-")


def test_wrong_ecs_asks_for_subnets_and_forgets_how_to_deploy(cloud: Cloud) -> None:
    """So neither is sent (providers/ecs.py)."""
    ecs = cloud.client("ecs")
    ecs.create_cluster(clusterName="c")
    container = {"name": "p", "image": "i", "memory": 1}
    task = ecs.register_task_definition(family="f", containerDefinitions=[container])["taskDefinition"]
    given = {"cluster": "c", "taskDefinition": task["taskDefinitionArn"], "launchType": "FARGATE"}
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
    with pytest.raises(ClientError, match="does not exist"):
        ecs.create_service(serviceName="a", networkConfiguration=network, **given)
    service = ecs.create_service(serviceName="b", deploymentConfiguration={"maximumPercent": 150}, **given)["service"]
    assert service.get("deploymentConfiguration", {}).get("maximumPercent") != 150
    assert service["runningCount"] == 0


def test_the_application_that_is_wrapped_is_there() -> None:
    assert callable(DomainDispatcherApplication(create_backend_app))


def _source(module: str) -> str:
    import importlib  # noqa: PLC0415 - only here
    import inspect  # noqa: PLC0415 - only here

    return inspect.getsource(importlib.import_module(module))


TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
}


def function(cloud: Cloud) -> str:
    role = cloud.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    made = cloud.client("lambda").create_function(
        FunctionName="f", Runtime="python3.13", Role=role, Handler="a.b", Code={"ZipFile": _ARCHIVE}
    )
    return str(made["FunctionArn"])


def test_wrong_a_mapping_of_a_stream_is_at_work_though_disabled(cloud: Cloud) -> None:
    """So a source forgets its mappings at once (providers/awslambda.py)."""
    function(cloud)
    kinesis = cloud.client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=arn, FunctionName="f", Enabled=False, StartingPosition="LATEST"
    )
    assert get_backend("kinesis")[ACCOUNT][REGION].streams["s"].lambda_event_source_mappings


def test_wrong_an_iterator_made_of_an_arn_leads_nowhere(cloud: Cloud) -> None:
    """So shards are read by the name of their stream (delivery/mappings.py)."""
    kinesis = cloud.client("kinesis")
    kinesis.create_stream(StreamName="s", ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]["StreamARN"]
    (shard,) = peek.shards(arn)
    where = {"ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    by_arn = kinesis.get_shard_iterator(StreamARN=arn, **where)["ShardIterator"]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        kinesis.get_records(ShardIterator=by_arn)
    by_name = kinesis.get_shard_iterator(StreamName="s", **where)["ShardIterator"]
    assert kinesis.get_records(ShardIterator=by_name)["Records"] == []


def test_what_is_looked_at_without_a_request_is_there(cloud: Cloud) -> None:
    sqs, kinesis = cloud.client("sqs"), cloud.client("kinesis")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    assert peek.waiting(arn) == 0
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=60)
    assert peek.waiting(arn) == 1
    sqs.receive_message(QueueUrl=url)
    assert peek.waiting(arn) == 0, "what was received is hidden"
    assert peek.waiting(arn + "-other") == 0
    kinesis.create_stream(StreamName="s", ShardCount=1)
    stream = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"
    (shard,) = peek.shards(stream)
    assert peek.last_number(stream, shard) == 0
    number = kinesis.put_record(StreamName="s", Data=b"x", PartitionKey="k")["SequenceNumber"]
    assert peek.last_number(stream, shard) == int(number)


@pytest.mark.parametrize("rule", [{"State": "DISABLED"}, {"ScheduleExpression": "rate(1 day)"}])
def test_wrong_disabled_and_scheduled_rules_deliver_events_and_ignore_input(cloud: Cloud, rule: dict[str, Any]) -> None:
    """So such rules get no targets (providers/events.py), and inputs are shaped here (delivery/inputs.py)."""
    url = cloud.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    events = cloud.client("events")
    events.put_rule(Name="r", **({"EventPattern": '{"source": ["s"]}'} if "State" in rule else {}), **rule)
    target = {"Id": "q", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "Input": '"constant"'}
    events.put_targets(Rule="r", Targets=[target])
    events.put_events(Entries=[{"Source": "s", "DetailType": "d", "Detail": "{}"}])
    (message,) = cloud.client("sqs").receive_message(QueueUrl=url)["Messages"]
    event = json.loads(message["Body"])
    assert event["source"] == "s"
    assert "account" not in event


def test_wrong_definitions_of_queries_cannot_be_made(cloud: Cloud) -> None:
    """So they are only recorded (recorded/operations.py)."""
    with pytest.raises(ClientError, match="500"):
        cloud.client("logs").put_query_definition(name="q", queryString="fields @message")


def test_tasks_of_state_machines_get_their_clients_where_roles_are_told(cloud: Cloud) -> None:  # noqa: ARG001 - moto is loaded
    """So tasks act as the role of their machine (local/machines.py)."""
    assert hasattr(boto_client, "boto3")
    assert "_eval_execution" in vars(StateTaskService)
    assert "_eval_execution" in vars(StateTaskLambda)
