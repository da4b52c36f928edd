"""The local servers: they start from nothing, keep what they were told, and let in whom the templates declare."""

import asyncio
import socket
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
import redis

from exchange_constructs.ticker_cache import ACCESS
from local.control import birth
from local.stand_ins import HOST, StandInError, conninfo, ensure_databases, free_port, postgres, valkey
from local.supervisor import Program, Supervisor
from runtime.gateway.cache_login import TokenLogin
from runtime.gateway.limit_sharing import ValkeyCounts

CLUSTERS = {"cluster": {"dbname": "ledger"}}


def during(tmp_path: Path, body: Any, *programs: Program) -> None:
    """Run `body` while the programs are up."""

    async def main() -> None:
        watched = Supervisor(tmp_path, lambda: None)
        try:
            await watched.start(*programs)
            await asyncio.to_thread(body)
        finally:
            pids = [process.pid for process in watched.processes]
            await watched.stop()
        assert not any(birth(pid) for pid in pids)

    asyncio.run(main())


def test_a_free_port_is_another_each_time_and_none_that_an_outgoing_connection_could_take() -> None:
    found = [free_port() for _ in range(200)]
    assert len(set(found)) == len(found)
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(outgoing.read_text().split()[0]) if outgoing.exists() else 49_152
    assert max(found) < first
    with socket.socket() as taken, patch("local.stand_ins.PORTS", range(found[0], found[0] + 1)):
        taken.bind((HOST, found[0]))
        with pytest.raises(StandInError, match=f"no port of {HOST} from {found[0]} to {found[0]} is free"):
            free_port()


def login(port: int, password: str) -> psycopg.Connection[Any]:
    return psycopg.connect(host=HOST, port=port, user="bursa", password=password, dbname="ledger", sslmode="disable")


def test_postgres_keeps_its_data_and_knows_the_declared_login_only(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o711)
    tmp_path.chmod(0o700)

    def first() -> None:
        ensure_databases(conninfo("secret", port), CLUSTERS, {"cluster": ("bursa", "one")}, {"reader": "three"})
        ensure_databases(conninfo("secret", port), CLUSTERS, {"cluster": ("bursa", "one")}, {"reader": "three"})
        with login(port, "one") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            connection.execute("CREATE TABLE kept (n int)")
            version = connection.info.server_version
        assert version // 10_000 == 18
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            login(port, "two")

    def second() -> None:
        ensure_databases(conninfo("secret", port), CLUSTERS, {"cluster": ("bursa", "two")}, {"reader": "four"})
        with login(port, "two") as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            login(port, "one")

    for body in (first, second):
        port = free_port()
        during(tmp_path, body, postgres(state, "secret", port))
    assert not (state / "postgres.password").exists()
    assert (state / "postgres").stat().st_mode & 0o777 == 0o700


def test_an_interrupted_beginning_is_begun_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    assert postgres(tmp_path, "secret", free_port()).name == "postgres"
    assert (tmp_path / "postgres" / "global").is_dir()
    assert not half.exists()


def test_valkey_is_bounded_and_keeps_nothing(tmp_path: Path) -> None:
    port = free_port()

    def body() -> None:
        client = redis.Redis(host=HOST, port=port)
        client.set("a", "1")
        assert client.config_get("maxmemory")["maxmemory"] == str(256 * 2**20)
        assert client.config_get("save")["save"] == ""

    during(tmp_path, body, valkey(tmp_path, port))
    assert list(tmp_path.glob("*.rdb")) == []


def test_the_rights_of_the_gateways_user_are_enough_to_count_and_for_nothing_else(tmp_path: Path) -> None:
    """The access string of the template, judged by a real server, with a password in the place of a token."""
    port = free_port()

    def count() -> list[int]:
        async def main() -> list[int]:
            store = ValkeyCounts(f"redis://gateways@{HOST}:{port}", "counts")
            try:
                return [(await store.add([("limits:weight:60:1:ana", 5, 60)]))[0] for _ in range(2)]
            finally:
                await store.close()

        with patch.object(TokenLogin, "get_credentials", lambda login: (login.user, "a token")):
            return asyncio.run(main())

    def body() -> None:
        admin = redis.Redis(host=HOST, port=port)
        admin.execute_command("ACL", "SETUSER", "gateways", ">a token", *ACCESS.split())
        admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">other")
        admin = redis.Redis(host=HOST, port=port, password="other")
        admin.execute_command("ACL", "LOG", "RESET")
        assert count() == [5, 10]
        assert admin.execute_command("ACL", "LOG") == [], "the client sends nothing that it may not"
        gateway = redis.Redis(host=HOST, port=port, username="gateways", password="a token")
        for refused in (("GET", "limits:a"), ("INCRBY", "tickers:a", 1), ("KEYS", "*"), ("FLUSHALL",)):
            with pytest.raises(redis.exceptions.NoPermissionError):
                gateway.execute_command(*refused)

    during(tmp_path, body, valkey(tmp_path, port))
