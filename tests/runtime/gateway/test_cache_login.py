"""Signing in to the cache: a token as AWS documents it, and no user where the address names none."""

import asyncio
import hashlib
import hmac
from unittest.mock import patch
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import AuthenticationError

from runtime.gateway import cache_login as module
from runtime.gateway.cache_login import TokenLogin, cache_login, connect_token
from runtime.gateway.limit_sharing import TROUBLE

REGION = "ap-southeast-3"
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,39}", fullmatch=True)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


class Session:
    """What the signer needs of boto3's session."""

    region_name = REGION

    def __init__(self, credentials: Credentials | None) -> None:
        self.credentials = credentials

    def get_credentials(self) -> Credentials | None:
        return self.credentials


def token(credentials: Credentials | None, user: str = "gateways", cache: str = "counts") -> str:
    with patch.object(module, "_session", lambda: Session(credentials)):
        return connect_token(user, cache)


def signature(secret: str, date: str, scope: str, canonical: str) -> str:
    """Return the signature as the signing process of version 4 is described, step by step."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(("AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return hmac.digest(key, text.encode(), "sha256").hex()


@given(user=NAMES, cache=NAMES, secret=SECRETS, session_token=st.none() | SECRETS)
def test_a_token_is_the_signed_request_that_aws_documents(
    user: str, cache: str, secret: str, session_token: str | None
) -> None:
    made = token(Credentials("AKIAEXAMPLE", secret, session_token), user, cache)
    assert made.startswith(f"{cache}/?"), "the host is the cache's name, and there is no scheme"
    said = dict(parse_qsl(urlsplit(f"//{made}").query, strict_parsing=True))
    date, signed = said["X-Amz-Date"], said.pop("X-Amz-Signature")
    scope = f"{date[:8]}/{REGION}/elasticache/aws4_request"
    assert said == {
        "Action": "connect",
        "User": user,
        "ResourceType": "ServerlessCache",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"AKIAEXAMPLE/{scope}",
        "X-Amz-Date": date,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": session_token} if session_token else {}),
    }
    query = "&".join(f"{quote(key, safe='-_.~')}={quote(said[key], safe='-_.~')}" for key in sorted(said))
    canonical = "\n".join(("GET", "/", query, f"host:{cache}", "", "host", hashlib.sha256(b"").hexdigest()))
    assert signed == signature(secret, date, scope, canonical)


def test_each_connection_gets_credentials_of_that_moment() -> None:
    login = TokenLogin("gateways", "counts")
    made = []
    for key in ("AKIAFIRST", "AKIASECOND"):
        with patch.object(module, "_session", lambda key=key: Session(Credentials(key, "secret"))):
            made.append(asyncio.run(login.get_credentials_async()))
    assert [user for user, _ in made] == ["gateways", "gateways"]
    assert ["AKIAFIRST" in made[0][1], "AKIASECOND" in made[1][1]] == [True, True]


def test_without_credentials_a_gateway_goes_on_alone() -> None:
    with (
        patch.object(module, "_session", lambda: Session(None)),
        pytest.raises(AuthenticationError, match="no token for user 'gateways' of cache 'counts'") as caught,
    ):
        TokenLogin("gateways", "counts").get_credentials()
    assert isinstance(caught.value, TROUBLE)


def test_only_an_address_with_a_user_signs_in() -> None:
    address, login = cache_login("rediss://dev-gateways@dev-gateways.cache:6379", "counts")
    assert address == "rediss://dev-gateways.cache:6379"
    assert login is not None
    assert (login.user, login.cache_name) == ("dev-gateways", "counts")
    for plain in ("redis://127.0.0.1:6380", "rediss://cache:6379", "unix:///run/valkey"):
        assert cache_login(plain, "counts") == (plain, None)
