"""How a gateway signs in to the cache: as a user without a password, with a token that its role signs."""

import asyncio
from functools import cache
from typing import Final
from urllib.parse import urlencode, urlsplit

import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, NoCredentialsError
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

VALKEY_URL_PATTERN: Final = r"^(rediss://([a-z][a-z0-9\-]*@)?|redis://|unix://)[^@]+$"
"""rediss://user@host:port; without a user, nobody signs in. A token never goes over a plain connection."""
TOKEN_LIFE_S: Final = 900
"""The longest that ElastiCache accepts."""
_SCHEME: Final = "https://"


class TokenLogin(CredentialProvider):
    """Signs in as one user of one cache, each connection anew.

    ElastiCache ends a connection after 12 hours; the client opens another one, with a new token.
    """

    def __init__(self, user: str, cache_name: str) -> None:
        """Sign in as `user`, whose id and name are the same, to the serverless cache called `cache_name`."""
        self.user = user
        self.cache_name = cache_name

    def get_credentials(self) -> tuple[str, str]:
        """Return user and token. Raises AuthenticationError when this process has no credentials to sign with."""
        try:
            return self.user, connect_token(self.user, self.cache_name)
        except BotoCoreError as error:
            msg = f"no token for user {self.user!r} of cache {self.cache_name!r}: {error}"
            raise AuthenticationError(msg) from error

    async def get_credentials_async(self) -> tuple[str, str]:
        """Do the same without blocking: credentials of a task are fetched over HTTP now and then."""
        return await asyncio.to_thread(self.get_credentials)


def cache_login(url: str, cache_name: str) -> tuple[str, TokenLogin | None]:
    """Return `url` without its user, and how that user signs in to the cache; None when `url` has no user."""
    user = urlsplit(url).username
    if user is None:
        return url, None
    return url.replace(f"{user}@", "", 1), TokenLogin(user, cache_name)


def connect_token(user: str, cache_name: str) -> str:
    """Return a token of 15 minutes: a request to connect, signed in its query, without its scheme.

    See "Authenticating with IAM" in the user guide of ElastiCache. Raises BotoCoreError without credentials.
    """
    session = _session()
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    query = urlencode({"Action": "connect", "User": user, "ResourceType": "ServerlessCache"})
    request = AWSRequest(method="GET", url=f"{_SCHEME}{cache_name}/?{query}")
    signer = SigV4QueryAuth(
        credentials.get_frozen_credentials(), "elasticache", session.region_name, expires=TOKEN_LIFE_S
    )
    signer.add_auth(request)
    return str(request.url).removeprefix(_SCHEME)


@cache
def _session() -> boto3.Session:
    return boto3.Session()
