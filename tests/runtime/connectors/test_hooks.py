"""Only the partner's own words, said just now, count; and they count once."""

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from runtime.connectors import handler, handler_rotation
from runtime.connectors.signatures import BODY_BYTES_MAX, TOLERANCE_S, SignatureError, signed, verify
from runtime.shared import functions

NOW = 1_800_000_000
BODY = json.dumps({"id": "d1", "subject": "w1", "outcome": "paid"})


class Context:
    """The part of Lambda's context that matters here."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


CONTEXT: Any = Context()


@given(body=st.binary(max_size=200), at=st.integers(0, 199), bit=st.integers(0, 7))
def test_one_changed_bit_is_found(body: bytes, at: int, bit: int) -> None:
    header = signed("secret", NOW, body)
    verify(header, body, secrets=["secret"], now_s=NOW)
    if body:
        changed = bytearray(body)
        changed[at % len(body)] ^= 1 << bit
        with pytest.raises(SignatureError):
            verify(header, bytes(changed), secrets=["secret"], now_s=NOW)


@pytest.mark.parametrize("late_s", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_an_old_delivery_is_refused(late_s: int) -> None:
    header = signed("secret", NOW, b"x")
    with pytest.raises(SignatureError, match="at most 300 are allowed"):
        verify(header, b"x", secrets=["secret"], now_s=NOW + late_s)
    with pytest.raises(SignatureError):  # a new time on an old signature
        verify(header.replace(str(NOW), str(NOW + late_s)), b"x", secrets=["secret"], now_s=NOW + late_s)


@pytest.mark.parametrize("secrets", [[], [""], ["other", ""]])
def test_without_the_right_secret_nothing_is_believed(secrets: list[str]) -> None:
    for secret in ("secret", ""):
        with pytest.raises(SignatureError, match="another secret"):
            verify(signed(secret, NOW, b"x"), b"x", secrets=secrets, now_s=NOW)


@pytest.mark.parametrize("header", ["", "t=1,v1=0", f"t={NOW},v1={'g' * 64}", f"t={NOW},v1={'0' * 64},v1={'0' * 64}"])
def test_a_header_of_another_form_is_refused(header: str) -> None:
    with pytest.raises(SignatureError, match="the signature is"):
        verify(header, b"x", secrets=["secret"], now_s=NOW)


def test_a_body_over_the_limit_is_refused() -> None:
    body = b"x" * (BODY_BYTES_MAX + 1)
    with pytest.raises(SignatureError, match="at most 65536"):
        verify(signed("secret", NOW, body), body, secrets=["secret"], now_s=NOW)


class World:
    def __init__(self) -> None:
        self.published: list[Any] = []
        self.secret = boto3.client("secretsmanager").create_secret(
            Name="bank", SecretString=json.dumps({"api_key": "theirs", "webhook_secret": "first"})
        )["ARN"]

    def publish(self, event: Any) -> None:
        self.published.append(event)

    def send(self, secret: str, body: str = BODY, path: str = "/hooks/bank") -> dict[str, Any]:
        request = {
            "path": path,
            "httpMethod": "POST",
            "headers": {"X-Bursa-Signature": signed(secret, int(time.time()), body.encode())},
            "body": body,
        }
        return handler.hook(request, CONTEXT)

    def rotate(self, version: str) -> None:
        for step in ("createSecret", "setSecret", "testSecret", "finishSecret") * 2:
            handler_rotation.rotate({"SecretId": self.secret, "ClientRequestToken": version, "Step": step}, CONTEXT)


@pytest.fixture
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
        patch.setenv("IDEMPOTENCY_TABLE", "memory")
        boto3.client("dynamodb").create_table(
            TableName="memory",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        made = World()
        patch.setenv("BANK_SECRET_ARN", made.secret)
        patch.setattr(handler, "_events", lambda: made)
        for cached in (functions._memory, handler._secret_store):
            cached.cache_clear()
        yield made
        for cached in (functions._memory, handler._secret_store):
            cached.cache_clear()


def test_a_delivery_becomes_one_event_however_often_it_is_sent(world: World) -> None:
    assert [world.send("first")["statusCode"] for _ in range(3)] == [202] * 3
    (event,) = world.published
    assert (event.partner, event.subject, event.outcome) == ("bank", "w1", "paid")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"secret": "guess"}, 401),
        ({"secret": "first", "path": "/hooks/nobody"}, 404),
        ({"secret": "first", "path": "/hooks/"}, 404),
        ({"secret": "first", "body": "{}"}, 400),
        ({"secret": "first", "body": "[" * 100}, 400),
    ],
)
def test_what_is_not_right_is_answered_and_never_published(world: World, change: dict[str, str], status: int) -> None:
    assert world.send(**change)["statusCode"] == status
    assert world.published == []


def test_a_bus_that_refuses_makes_the_partner_send_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_event: Any) -> None:
        raise RuntimeError("the bus is away")

    with monkeypatch.context() as patch:
        patch.setattr(world, "publish", fail)
        with pytest.raises(RuntimeError, match="the bus is away"):
            world.send("first")
    assert world.send("first")["statusCode"] == 202
    assert len(world.published) == 1


def current(world: World) -> dict[str, str]:
    stored: dict[str, str] = json.loads(
        boto3.client("secretsmanager").get_secret_value(SecretId=world.secret, VersionStage="AWSCURRENT")[
            "SecretString"
        ]
    )
    return stored


def test_a_rotation_leaves_no_gap_and_keeps_the_partners_key(world: World) -> None:
    world.rotate("v" * 32)
    second = current(world)["webhook_secret"]
    assert second != "first"
    assert current(world)["api_key"] == "theirs"
    bodies = [BODY.replace("d1", f"d{number}") for number in range(3)]
    assert world.send("first", bodies[0])["statusCode"] == 202
    assert world.send(second, bodies[1])["statusCode"] == 202
    world.rotate("w" * 32)
    assert world.send("first", bodies[2])["statusCode"] == 401
    assert world.send(second, bodies[2])["statusCode"] == 202
