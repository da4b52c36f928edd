"""Who sent this, and is it fresh? Pure checks of signatures over the bytes as received, and of timestamps."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import quote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from runtime.gateway.errors import (
    EMPTY_PARAMETER,
    ILLEGAL_CHARACTERS,
    MANDATORY,
    TIMESTAMP_AHEAD,
    TIMESTAMP_TOO_OLD,
    TOO_GREAT,
)
from runtime.shared.money import MoneyError, parse_decimal

Verifier = Callable[[bytes, str], bool]
"""Tells whether a signature, as the client wrote it, is one of these bytes."""

HMAC: Final = "HMAC"
RSA: Final = "RSA"
ED25519: Final = "ED25519"
TRADE: Final = "TRADE"
WITHDRAW: Final = "WITHDRAW"
"""Counts only for a key that is held to a list of addresses."""
READ: Final = "READ"
ANY: Final = ""
"""The permission that every key has."""

RECV_WINDOW_US: Final = 5_000_000
"""How long after its timestamp a request is good for, when it does not say."""
RECV_WINDOW_MS_MAX: Final = 60_000
AHEAD_US_MAX: Final = 1_000_000
"""How far a client's clock may be ahead, exclusive."""
MICROSECONDS_FROM: Final = 10**14
"""Numbers from here on are microseconds, below milliseconds: the year 1973 in one, 5138 in the other."""
RSA_BITS_MIN: Final = 2048
_TIMESTAMP_RANGE: Final = "^[0-9]{1,20}$"
_TIMESTAMP_DIGITS_MAX: Final = 20
_WINDOW_RANGE: Final = r"^([0-9]{1,5})(\.[0-9]{1,3})?$"
_WINDOW_DECIMALS: Final = 3
_SIGNATURE: Final = b"signature="
_USUAL_WINDOWS: Final = {f"{ms}": ms * 1000 for ms in (1_000, 5_000, 10_000, 60_000)}


class BadKeyError(ValueError):
    """Stored key material cannot be used; the message says why and never holds the material."""


class ApiKey(Struct, frozen=True):
    """A key that signs requests of one account. No networks means that they may come from anywhere."""

    api_key: str
    account: int
    kind: str
    tier: str
    permissions: frozenset[str]
    verify: Verifier
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def may(self, permission: str, address: str) -> bool:
        """Tell whether the key may do what needs `permission` (none for ANY), from `address`."""
        if permission and permission not in self.permissions:
            return False
        if not self.networks:
            return permission != WITHDRAW
        try:
            source = ip_address(address)
        except ValueError:
            return False
        return any(source in network for network in self.networks)


class Timing(Struct, frozen=True):
    """When a request was made and how long it is good for, in microseconds."""

    timestamp_us: int
    window_us: int

    def check(self, now_us: int) -> None:
        """Raise -1021 unless the request is fresh at `now_us`."""
        if self.timestamp_us >= now_us + AHEAD_US_MAX:
            raise TIMESTAMP_AHEAD.error()
        if now_us - self.timestamp_us > self.window_us:
            raise TIMESTAMP_TOO_OLD.error()


# ---- timestamps ------------------------------------------------------------------------------------------------------


def read_timing(sent: Mapping[str, str]) -> Timing:
    """Read `timestamp` (ms or µs) and `recvWindow` (ms, up to three decimals). Raises the documented errors."""
    text = sent.get("timestamp")
    if not text:
        raise MANDATORY.error("timestamp")
    if not (text.isascii() and text.isdigit() and len(text) <= _TIMESTAMP_DIGITS_MAX):
        raise ILLEGAL_CHARACTERS.error("timestamp", _TIMESTAMP_RANGE)
    number = int(text)
    window = sent.get("recvWindow")
    return Timing(
        number if number >= MICROSECONDS_FROM else number * 1000,
        RECV_WINDOW_US if window is None else _window_us(window),
    )


def _window_us(text: str) -> int:
    if not text:
        raise EMPTY_PARAMETER.error("recvWindow")
    if text in _USUAL_WINDOWS:
        return _USUAL_WINDOWS[text]
    try:
        window_us = parse_decimal(text, _WINDOW_DECIMALS)
    except MoneyError:
        raise ILLEGAL_CHARACTERS.error("recvWindow", _WINDOW_RANGE) from None
    if window_us > RECV_WINDOW_MS_MAX * 1000:
        raise TOO_GREAT.error("recvWindow", RECV_WINDOW_MS_MAX)
    return window_us


# ---- what is signed --------------------------------------------------------------------------------------------------


def rest_payload(query: bytes, body: bytes) -> bytes:
    """Return what a REST request signs: query and body as received, joined by nothing, without `signature`."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(raw: bytes) -> bytes:
    start = raw.rfind(_SIGNATURE)
    while start > 0 and raw[start - 1 : start] != b"&":  # the end of another name, such as `mysignature`
        start = raw.rfind(_SIGNATURE, 0, start)
    if start < 0:
        return raw
    end = raw.find(b"&", start)
    if end < 0:
        return raw[: max(0, start - 1)]
    return raw[:start] + raw[end + 1 :]


def ws_payloads(sent: Mapping[str, str]) -> Iterator[bytes]:
    """Yield what a WebSocket request may have signed: its parameters by name, without `signature`.

    Values are joined as they are; some clients percent-encode them, which differs only for unusual characters.
    """
    pairs = sorted([pair for pair in sent.items() if pair[0] != "signature"])
    yield "&".join([f"{name}={value}" for name, value in pairs]).encode()
    yield "&".join([f"{name}={quote_plus(value)}" for name, value in pairs]).encode()


# ---- signatures ------------------------------------------------------------------------------------------------------


def hmac_verifier(secret: bytes) -> Verifier:
    """Return the check of HMAC-SHA256 signatures, in hex of any case. Raises BadKeyError for an empty secret."""
    if not secret:
        raise BadKeyError("the HMAC secret is empty")

    def verify(payload: bytes, signature: str) -> bool:
        try:
            given = bytes.fromhex(signature)
        except ValueError:
            return False
        return hmac.compare_digest(hmac.digest(secret, payload, "sha256"), given)

    return verify


def public_key_verifier(kind: str, pem: str) -> Verifier:
    """Return the check of RSA (PKCS#1 v1.5, SHA-256) or Ed25519 signatures, in base64. Raises BadKeyError."""
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise BadKeyError(f"not a public key in PEM: {error}") from None
    if kind == ED25519 and isinstance(key, Ed25519PublicKey):
        return _base64_verifier(key.verify)
    if kind == RSA and isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            raise BadKeyError(f"an RSA key has at least {RSA_BITS_MIN} bits, was {key.key_size}")
        return _base64_verifier(lambda signature, payload: key.verify(signature, payload, PKCS1v15(), SHA256()))
    raise BadKeyError(f"expected a key of kind {kind}, was {type(key).__name__}")


def _base64_verifier(check: Callable[[bytes, bytes], None]) -> Verifier:
    def verify(payload: bytes, signature: str) -> bool:
        try:
            # A `+` that was not percent-encoded has arrived as a blank.
            check(base64.b64decode(signature.replace(" ", "+"), validate=True), payload)
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True

    return verify
