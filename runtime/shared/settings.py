"""What a service reads before it starts: its environment, the catalogue; and how it signs in to the database."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from ipaddress import ip_address
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import boto3
from psycopg.conninfo import make_conninfo
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.shared.catalogue import Catalogue, read_catalogue

EXIT_BAD_SETTINGS = 2
ADDRESS_PATTERN = r"^[A-Za-z0-9.\-]+:[0-9]{1,5}$"
"""host:port"""
ADDRESSES_PATTERN = r"^[A-Za-z0-9.\-]+:[0-9]{1,5}(,[A-Za-z0-9.\-]+:[0-9]{1,5})*$"
"""host:port, or several with commas between them: the processes of one group"""
DATABASE_URL_PATTERN = r"^postgresql://[a-z_]+@[A-Za-z0-9.\-]+:[0-9]{1,5}/[a-z_]+$"
"""postgresql://user@host:port/database, without a password"""
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""A database whose host is gone without a goodbye is noticed within half a minute, not after hours."""


class ServiceSettings(BaseSettings):
    """Environment variables that every service has; each service adds its own. Names are upper case outside."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    service: str
    listen_host: str = "127.0.0.1"
    """Loopback unless the template says otherwise."""
    listen_port: int = Field(ge=1, le=65_535)
    catalogue_parameter: str = Field(min_length=1)
    otlp_address: str = Field(default="", pattern=rf"^$|{ADDRESS_PATTERN}")
    """host:port of a collector that takes traces and numbers; empty where there is none."""
    trace_one_in: int = Field(default=100, ge=1)


Settings = TypeVar("Settings", bound=BaseSettings)


def read_settings(kind: type[Settings]) -> Settings:
    """Return the settings of this process; on a wrong or missing variable say so, a line each, and exit with 2."""
    try:
        return kind()
    except ValidationError as error:
        problems = (_problem(problem) for problem in error.errors(include_url=False))
        refuse_to_start("\n".join(problems))


def _problem(problem: Any) -> str:  # noqa: ANN401 - pydantic's error details
    variable = ".".join(str(part) for part in problem["loc"]).upper()
    if problem["type"] == "missing":
        return f"environment variable {variable} is missing"
    return f"environment variable {variable}: {problem['msg']}, was {problem['input']!r}"


def refuse_to_start(message: str) -> NoReturn:
    """Print `message` for the operator and exit with 2: restarting will not help."""
    sys.stderr.write(message + "\n")
    sys.exit(EXIT_BAD_SETTINGS)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        msg = f"an address is host:port, was {address!r}"
        raise ValueError(msg)
    return host, int(port)


def read_catalogue_parameter(name: str) -> Catalogue:
    """Fetch and check the catalogue. Raises CatalogueError; botocore's errors pass through."""
    text = boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    return read_catalogue(text, f"SSM parameter {name}")


Login = Callable[[], Awaitable[str]]
"""Makes libpq's connection string for one new connection."""


def database_login(url: str) -> Login:
    """Return how the user of `url` signs in, each time anew: a token is good for 15 minutes only."""

    async def sign_in() -> str:
        return await asyncio.to_thread(database_conninfo, url)

    return sign_in


def database_conninfo(url: str) -> str:
    """Return libpq's connection string for the user of `url`, who has no password but a token signed by this role.

    The stand-in on loopback knows no tokens and speaks no TLS; libpq finds a password for it in PGPASSFILE.
    """
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return make_conninfo(url, sslmode="disable", connect_timeout=5, **_KEEPALIVES)
    token = _rds().generate_db_auth_token(parts.hostname, parts.port, parts.username)
    return make_conninfo(url, password=token, sslmode="verify-full", connect_timeout=5, **_KEEPALIVES)


def owner_conninfo(url: str, secret_arn: str) -> str:
    """Return libpq's connection string for the owner of the database of `url`, by the secret that Aurora rotates."""
    login = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=secret_arn)["SecretString"])
    tls = "disable" if is_loopback(urlsplit(url).hostname or "") else "verify-full"
    return make_conninfo(
        url, user=login["username"], password=login["password"], sslmode=tls, connect_timeout=5, **_KEEPALIVES
    )


@cache
def _rds() -> Any:  # noqa: ANN401 - boto3's clients have no type
    return boto3.client("rds")


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
