"""The wrapper around moto: memory, lock, long polls, refusals, stable ids and keys."""

import http.client
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import BODY_BYTES_MAX, Cloud
from tests.local.world import ACCOUNT, REGION

TABLE = {
    "TableName": "t",
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def deploy(cloud: Cloud) -> str:
    """Make what a deployment would, the same each time; return the id of the key."""
    cloud.seed("Stack/Key")
    key: str = cloud.client("kms").create_key()["KeyMetadata"]["KeyId"]
    cloud.keep_key_material(key, "Stack/Key")
    cloud.client("dynamodb").create_table(**TABLE)
    s3 = cloud.client("s3")
    for name in ("plain", "versioned"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    cloud.client("secretsmanager").create_secret(Name="s", SecretString="made")
    return key


def restart(cloud: Cloud, state: Path) -> Cloud:
    cloud.stop()
    fresh = Cloud(state, account=ACCOUNT, region=REGION)
    fresh.start()
    return fresh


def test_data_comes_back_after_a_restart_and_ids_with_it(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, account=ACCOUNT, region=REGION)
    cloud.start()
    key = deploy(cloud)
    cloud.restore()
    dynamodb, s3 = cloud.client("dynamodb"), cloud.client("s3")
    for number in range(3):
        dynamodb.put_item(TableName="t", Item={"k": {"S": "a"}, "n": {"N": str(number)}, "b": {"B": b"\x00\xff"}})
    dynamodb.put_item(TableName="t", Item={"k": {"S": "gone"}})
    dynamodb.delete_item(TableName="t", Key={"k": {"S": "gone"}})
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        dynamodb.put_item(TableName="t", Item={"k": {"S": "a"}}, ConditionExpression="attribute_not_exists(k)")
    versions = [s3.put_object(Bucket="versioned", Key="a b/ü", Body=b"%d" % n)["VersionId"] for n in range(2)]
    s3.put_object(Bucket="plain", Key="x", Body=b"1")
    s3.put_object(Bucket="plain", Key="x", Body=b"2", Metadata={"who": "me"})
    cloud.client("secretsmanager").put_secret_value(SecretId="s", SecretString="changed")
    sealed = cloud.client("kms").encrypt(KeyId=key, Plaintext=b"plain", EncryptionContext={"for": "me"})

    for expected in (10, 5):  # the second time from the compacted log
        cloud = restart(cloud, tmp_path)
        assert deploy(cloud) == key
        restored = cloud.restore()
        assert (restored.performed, restored.lost) == (expected, 0)
        dynamodb, s3 = cloud.client("dynamodb"), cloud.client("s3")
        assert dynamodb.scan(TableName="t")["Items"] == [{"k": {"S": "a"}, "n": {"N": "2"}, "b": {"B": b"\x00\xff"}}]
        for number, version in enumerate(versions):
            found = s3.get_object(Bucket="versioned", Key="a b/ü", VersionId=version)
            assert found["Body"].read() == b"%d" % number
        latest = s3.get_object(Bucket="plain", Key="x")
        assert (latest["Body"].read(), latest["Metadata"]) == (b"2", {"who": "me"})
        assert cloud.client("secretsmanager").get_secret_value(SecretId="s")["SecretString"] == "changed"
        opened = cloud.client("kms").decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext={"for": "me"})
        assert opened["Plaintext"] == b"plain"
    cloud.stop()


def test_changes_that_no_longer_fit_are_set_aside_and_told(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, account=ACCOUNT, region=REGION)
    cloud.start()
    deploy(cloud)
    cloud.restore()
    cloud.client("dynamodb").put_item(TableName="t", Item={"k": {"S": "a"}})
    cloud = restart(cloud, tmp_path)  # and nothing is deployed
    assert cloud.restore().lost == 1
    assert len(list(tmp_path.glob("not-restored-*.log"))) == 1
    cloud.stop()


def test_an_installation_has_its_own_secret_and_keeps_it(tmp_path: Path) -> None:
    one, other = (Cloud(tmp_path / name, account=ACCOUNT, region=REGION) for name in ("one", "other"))
    again = Cloud(tmp_path / "one", account=ACCOUNT, region=REGION)
    assert one.derive("kms", "Stack/Key", 32) == again.derive("kms", "Stack/Key", 32)
    assert one.derive("kms", "Stack/Key", 32) != other.derive("kms", "Stack/Key", 32)
    assert one.derive("kms", "Stack/Key", 32) != one.derive("kms", "Stack/Other", 32)
    assert one.derive("kms", "Stack/Key", 32) != one.derive("secret", "Stack/Key", 32)
    assert (tmp_path / "one" / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_signing_key_stays_the_same(tmp_path: Path) -> None:
    public = []
    for _ in range(2):
        cloud = Cloud(tmp_path, account=ACCOUNT, region=REGION)
        cloud.start()
        cloud.seed("Stack/Signer")
        kms = cloud.client("kms")
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        cloud.keep_key_material(key, "Stack/Signer")
        public.append(kms.get_public_key(KeyId=key)["PublicKey"])
        cloud.stop()
    assert public[0] == public[1]
    (kept,) = (tmp_path / "keys").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600


WRITER = """
import sys
from pathlib import Path
from local.cloud import Cloud
from tests.local.test_cloud import TABLE
cloud = Cloud(Path(sys.argv[1]), account="123456789012", region="ap-southeast-3")
cloud.start()
cloud.client("dynamodb").create_table(**TABLE)
cloud.restore()
for number in range(100_000):
    cloud.client("dynamodb").put_item(TableName="t", Item={"k": {"S": str(number)}})
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
    writer.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
    writer.wait()
    cloud = Cloud(tmp_path, account=ACCOUNT, region=REGION)
    cloud.start()
    cloud.client("dynamodb").create_table(**TABLE)
    cloud.restore()
    found = {int(item["k"]["S"]) for item in cloud.client("dynamodb").scan(TableName="t")["Items"]}
    cloud.stop()
    assert found >= set(range(acknowledged + 1))
    assert found <= set(range(acknowledged + 2)), "one more may have been under way"


def test_many_clients_at_once_get_no_error(cloud: Cloud) -> None:
    dynamodb, sqs = cloud.client("dynamodb"), cloud.client("sqs")
    dynamodb.create_table(**TABLE)
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]

    def work(worker: int) -> None:
        for number in range(12):
            key = {"S": f"{worker}-{number}"}
            put = {"Put": {"TableName": "t", "Item": {"k": key}}}
            dynamodb.transact_write_items(TransactItems=[put])
            dynamodb.scan(TableName="t")
            sqs.send_message(QueueUrl=queue, MessageBody="m")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert dynamodb.scan(TableName="t", Select="COUNT")["Count"] == 72


def test_a_long_poll_holds_nobody_up_and_ends_when_a_message_comes(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    received: list[Any] = []
    poll = threading.Thread(
        target=lambda: received.append(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages"))
    )
    begun = time.monotonic()
    poll.start()
    time.sleep(0.3)
    sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    assert time.monotonic() - begun < 10
    sqs.send_message(QueueUrl=queue, MessageBody="here")
    poll.join(30)
    assert [message["Body"] for message in received[0]] == ["here"]
    assert time.monotonic() - begun < 15


def ask(cloud: Cloud, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", int(cloud.url.rpartition(":")[2]), timeout=5)
    connection.request("GET", "/", headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}


def test_web_pages_and_foreign_names_are_turned_away(cloud: Cloud) -> None:
    assert ask(cloud, Host="localhost:1")[0] == 200
    assert ask(cloud, Host="bucket.localhost:1")[0] in {200, 404}
    assert ask(cloud, Host="attacker.example")[0] == 403
    assert ask(cloud, Host="localhost.attacker.example:80")[0] == 403
    assert ask(cloud, Host="localhost:1", Origin="http://attacker.example")[0] == 403
    assert not any(name.startswith("access-control-") for name in ask(cloud, Host="localhost:1")[2])


def test_a_body_over_the_limit_is_refused_unread(cloud: Cloud) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(cloud.url.rpartition(":")[2]), timeout=5)
    connection.putrequest("PUT", "/bucket/key")
    connection.putheader("Content-Length", str(BODY_BYTES_MAX + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_another_account_than_motos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="account must be 123456789012"):
        Cloud(tmp_path, account="222222222222", region=REGION)


# ---- what moto would get wrong


def test_what_moto_would_sign_wrongly_is_refused(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    arguments = {"KeyId": key, "Message": b"x" * 32, "SigningAlgorithm": "ECDSA_SHA_256"}
    kms.sign(MessageType="RAW", **arguments)
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        kms.sign(MessageType="DIGEST", **arguments)


def test_no_plaintext_for_an_enclave_that_was_not_attested(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b"forged"}
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        kms.decrypt(CiphertextBlob=sealed, Recipient=recipient)


def test_a_disabled_key_does_nothing(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/k", TargetKeyId=key)
    sealed = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    for call in (
        lambda: kms.encrypt(KeyId=key, Plaintext=b"x"),
        lambda: kms.encrypt(KeyId="alias/k", Plaintext=b"x"),
        lambda: kms.decrypt(CiphertextBlob=sealed),
    ):
        with pytest.raises(ClientError, match="DisabledException"):
            call()
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    with pytest.raises(ClientError, match="KMSInvalidState"):
        kms.decrypt(CiphertextBlob=sealed)


def test_a_transaction_repeated_under_its_token_is_made_once(cloud: Cloud) -> None:
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(**TABLE)

    def add(step: str) -> None:
        update = {
            "TableName": "t",
            "Key": {"k": {"S": "a"}},
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": step}},
        }
        dynamodb.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="token")

    add("1")
    add("1")
    assert dynamodb.get_item(TableName="t", Key={"k": {"S": "a"}})["Item"]["n"] == {"N": "1"}
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        add("2")


def test_ids_follow_from_paths_alone(tmp_path: Path) -> None:
    def ids(*paths: str) -> dict[str, str]:
        cloud = Cloud(tmp_path, account=ACCOUNT, region=REGION)
        cloud.start()
        found = {}
        for path in paths:
            cloud.seed(path)
            found[path] = cloud.client("kms").create_key()["KeyMetadata"]["KeyId"]
        cloud.stop()
        return found

    assert ids("S/A", "S/B") == ids("S/B", "S/A")
    assert len(set(ids("S/A", "S/B").values())) == 2


def test_message_ids_do_not_repeat_between_runs(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        cloud = Cloud(tmp_path, account=ACCOUNT, region=REGION)
        cloud.start()
        cloud.seed("S/Q")
        queue = cloud.client("sqs").create_queue(QueueName="q")["QueueUrl"]
        cloud.restore()
        seen.append(cloud.client("sqs").send_message(QueueUrl=queue, MessageBody="m")["MessageId"])
        cloud.stop()
    assert seen[0] != seen[1]
