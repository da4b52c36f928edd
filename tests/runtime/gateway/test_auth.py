"""Signatures and timestamps: the documented vector, every kind of key, and nothing that merely looks signed."""

import base64
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote_plus

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.gateway import auth
from runtime.gateway.auth import ED25519, RSA, ApiKey, BadKeyError, Timing
from runtime.gateway.errors import ApiError

SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
QUERY = (
    b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
)
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
NOW_US = 1_700_000_000_000_000


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def code_of(call: Any) -> int:
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.code


def test_the_documented_vector_is_valid() -> None:
    verify = auth.hmac_verifier(SECRET)
    assert verify(auth.rest_payload(QUERY + b"&signature=" + SIGNATURE.encode(), b""), SIGNATURE)
    assert verify(auth.rest_payload(b"", QUERY + b"&signature=" + SIGNATURE.encode()), SIGNATURE)
    assert verify(QUERY, SIGNATURE.upper())


def test_query_and_body_are_joined_by_nothing() -> None:
    query, _, body = QUERY.partition(b"&quantity")
    body = b"quantity" + body
    mixed = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
    assert query.endswith(b"GTC")
    payload = auth.rest_payload(query, body + b"&signature=" + mixed.encode())
    assert payload == query + body
    assert auth.hmac_verifier(SECRET)(payload, mixed)


@pytest.mark.parametrize(
    ("raw", "signed"),
    [
        (b"a=1&signature=x", b"a=1"),
        (b"signature=x&a=1", b"a=1"),
        (b"a=1&signature=x&b=2", b"a=1&b=2"),
        (b"signature=x", b""),
        (b"mysignature=1", b"mysignature=1"),
        (b"a=1&mysignature=1&signature=x", b"a=1&mysignature=1"),
        (b"signature=x&mysignature=1", b"mysignature=1"),
        (b"", b""),
    ],
)
def test_only_the_signature_is_left_out(raw: bytes, signed: bytes) -> None:
    assert auth.rest_payload(raw, b"") == signed


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 59))
def test_a_signature_is_valid_for_its_own_bytes_only(payload: bytes, other: bytes, position: int) -> None:
    verify = auth.hmac_verifier(SECRET)
    signature = __import__("hmac").digest(SECRET, payload, "sha256").hex()
    assert verify(payload, signature)
    assert verify(other, signature) == (other == payload)
    spoiled = signature[:position] + ("0" if signature[position] != "0" else "1") + signature[position + 1 :]
    assert not verify(payload, spoiled)


@given(st.text(max_size=100))
def test_no_text_is_a_signature_by_accident_or_an_exception(text: str) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    assert not auth.hmac_verifier(SECRET)(b"payload", text)
    assert not auth.public_key_verifier(ED25519, pem(key))(b"payload", text)


def test_ed25519_and_rsa_signatures() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    verify = auth.public_key_verifier(ED25519, pem(key))
    signature = base64.b64encode(key.sign(QUERY)).decode()
    assert verify(QUERY, signature)
    assert verify(QUERY, signature.replace("+", " "))  # a plus that was not percent-encoded
    assert not verify(QUERY + b"0", signature)
    assert not verify(QUERY, signature.swapcase())

    private = rsa.generate_private_key(65_537, 2048)
    verify = auth.public_key_verifier(RSA, pem(private))
    signature = base64.b64encode(private.sign(QUERY, padding.PKCS1v15(), hashes.SHA256())).decode()
    assert verify(QUERY, signature)
    assert not verify(QUERY[1:], signature)


def test_key_material_that_cannot_be_used_is_refused() -> None:
    weak = rsa.generate_private_key(65_537, 1024)
    for kind, text in (
        (RSA, "nonsense"),
        (RSA, pem(weak)),
        (RSA, pem(ed25519.Ed25519PrivateKey.generate())),
        (ED25519, pem(weak)),
    ):
        with pytest.raises(BadKeyError):
            auth.public_key_verifier(kind, text)
    with pytest.raises(BadKeyError):
        auth.hmac_verifier(b"")


@given(st.dictionaries(st.text("abcXYZ", min_size=1), st.text(max_size=8), max_size=6))
def test_websocket_payloads_are_sorted_by_name(sent: dict[str, str]) -> None:
    pairs = sorted(sent.items())
    payloads = list(auth.ws_payloads({**sent, "signature": "x"}))
    assert payloads[0].decode() == "&".join(f"{name}={value}" for name, value in pairs)
    assert payloads[-1].decode() == "&".join(f"{name}={quote_plus(value)}" for name, value in pairs)


def test_timestamps_in_milliseconds_and_microseconds() -> None:
    assert auth.read_timing({"timestamp": "1700000000000"}) == Timing(NOW_US, 5_000_000)
    assert auth.read_timing({"timestamp": "1700000000000123", "recvWindow": "0.123"}) == Timing(NOW_US + 123, 123)
    assert auth.read_timing({"timestamp": "1", "recvWindow": "60000"}).window_us == 60_000_000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, -1102),
        ({"timestamp": ""}, -1102),
        ({"timestamp": "now"}, -1100),
        ({"timestamp": "-1"}, -1100),
        ({"timestamp": "1.5"}, -1100),
        ({"timestamp": "١٢٣"}, -1100),
        ({"timestamp": "9" * 21}, -1100),
        ({"timestamp": "1", "recvWindow": ""}, -1105),
        ({"timestamp": "1", "recvWindow": "5000.0001"}, -1100),
        ({"timestamp": "1", "recvWindow": "-5"}, -1100),
        ({"timestamp": "1", "recvWindow": "60000.001"}, -1102),
    ],
)
def test_bad_timestamps_and_windows(sent: dict[str, str], code: int) -> None:
    assert code_of(lambda: auth.read_timing(sent)) == code


@given(st.integers(-10_000_000, 100_000_000), st.integers(0, 60_000_000))
@example(age_us=-1_000_000, window_us=0)
@example(age_us=-999_999, window_us=0)
@example(age_us=5_000, window_us=5_000)
@example(age_us=5_001, window_us=5_000)
def test_a_request_is_fresh_exactly_as_documented(age_us: int, window_us: int) -> None:
    timing = Timing(NOW_US - age_us, window_us)
    documented = NOW_US - age_us < NOW_US + 1_000_000 and age_us <= window_us
    if documented:
        timing.check(NOW_US)
    else:
        assert code_of(lambda: timing.check(NOW_US)) == -1021


def test_permissions_and_networks() -> None:
    key = ApiKey("k", 1, "HMAC", "standard", frozenset(["READ"]), lambda *_: True, (ip_network("10.0.0.0/8"),))
    assert key.may("READ", "10.1.2.3")
    assert key.may("", "10.1.2.3")
    assert not key.may("TRADE", "10.1.2.3")
    assert not key.may("READ", "11.1.2.3")
    assert not key.may("READ", "not an address")
    assert not key.may("READ", "::1")
