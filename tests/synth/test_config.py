"""A wrong value in `config/` is one clear line: file, field, what is allowed, what was given."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import config.model
from config.checks import Sample
from config.environments import DEV, ENVIRONMENTS, PROD
from config.markets import CATALOGUE
from config.model import (
    BrokerConfig,
    ConfigError,
    ConnectorsConfig,
    DatabaseConfig,
    Durability,
    FargateSize,
    NetworkConfig,
    OperationsConfig,
    WebSocketConfig,
    checked,
    load_environments,
    samples,
)
from config.perimeter import Accounts, EgressConfig, MarketMaker

ROOT = Path(__file__).resolve().parents[2]
DATABASE = DEV.database
MAKER = MarketMaker(name="Maker", account="444444444444")
SMALL = FargateSize(cpu_units=256, memory_mib=512, task_count=1)


def size(**values: Any) -> FargateSize:
    return dataclasses.replace(SMALL, **values)


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (
        DEV,
        {"network": NetworkConfig(cidr="10.10.0.0/16", az_count=5, endpoint_zone_count=1)},
        "dev.network.az_count: must be 2 or 3, was 5",
    ),
    (
        DEV,
        {"network": NetworkConfig(cidr="8.8.0.0/16", az_count=2, endpoint_zone_count=1)},
        "dev.network.cidr: must be a private IPv4 block of /16 to /19, such as 10.10.0.0/16, was '8.8.0.0/16'",
    ),
    (
        DEV,
        {"network": NetworkConfig(cidr="10.10.0.1/16", az_count=2, endpoint_zone_count=1)},
        "dev.network.cidr: must be a private IPv4 block of /16 to /19, such as 10.10.0.0/16, was '10.10.0.1/16'",
    ),
    (
        DEV,
        {"accounts": dataclasses.replace(DEV.accounts, audit="12345")},
        "dev.accounts.audit: must be an AWS account id of 12 digits, was '12345'",
    ),
    (
        DEV,
        {"accounts": dataclasses.replace(DEV.accounts, wallet=Sample("x"))},
        "dev.accounts.wallet: must be an AWS account id of 12 digits, was x",
    ),
    (
        DEV,
        {"network": NetworkConfig(cidr="10.10.0.0/16", az_count=2, endpoint_zone_count=3)},
        "dev.network.endpoint_zone_count: must be at most network.az_count 2, was 3",
    ),
    (
        DEV,
        {"egress": EgressConfig(zone_count=3, domains=())},
        "dev.egress.zone_count: must be at most network.az_count 2, was 3",
    ),
    (
        DEV,
        {"partners": dataclasses.replace(DEV.partners, dmz_cidr="10.10.4.0/22")},
        "dev.partners.dmz_cidr: must not overlap network.cidr 10.10.0.0/16, was '10.10.4.0/22'",
    ),
    (
        DEV,
        {"partners": dataclasses.replace(DEV.partners, market_makers=(MAKER, MAKER))},
        "dev.partners: must name each partner once, was 'Maker'",
    ),
    (
        DEV,
        {"edge": dataclasses.replace(DEV.edge, origin_facing="0.0.0.0/0")},
        (
            "dev.edge.origin_facing: must be the id of a prefix list (pl-...) or of a security group (sg-...),"
            " was '0.0.0.0/0'"
        ),
    ),
    (
        PROD,
        {"audit": dataclasses.replace(PROD.audit, retention_days=365)},
        "prod.audit.retention_days: must be at least 1827 (five years), was 365",
    ),
    (
        DEV,
        {"audit": dataclasses.replace(DEV.audit, lock_mode="COMPLIANCE")},
        ("dev.audit.lock_mode: must be 'GOVERNANCE': in prod records stay, of a trial they can go, was 'COMPLIANCE'"),
    ),
    (
        PROD,
        {"records": dataclasses.replace(PROD.records, ledger_years=4)},
        "prod.records.ledger_years: must be at least 5, the floor of the law, was 4",
    ),
    (
        PROD,
        {"records": dataclasses.replace(PROD.records, lock_mode="GOVERNANCE")},
        "prod.records.lock_mode: must be 'COMPLIANCE': in prod records stay, of a trial they can go, was 'GOVERNANCE'",
    ),
    (PROD, {"backup": dataclasses.replace(PROD.backup, locked=False)}, "prod.backup.locked: must be True, was False"),
    (DEV, {"region": "eu-west-1"}, "dev.region: must be 'ap-southeast-3', was 'eu-west-1'"),
    (DEV, {"domain": "Bursa"}, "dev.domain: must be a domain name in lower case, was 'Bursa'"),
    (
        DEV,
        {"hosted_zone_id": "zone"},
        "dev.hosted_zone_id: must be the id of a public Route 53 zone, such as Z0123456789AB, was 'zone'",
    ),
    (
        DEV,
        {"log_retention_days": 31},
        "dev.log_retention_days: must be 30, 90, 180, 365, 731, 1827 or 3653, was 31",
    ),
    (DEV, {"ledger": size(memory_mib="512")}, "dev.ledger.memory_mib: must be a valid integer, was '512'"),
    (
        DEV,
        {"rest": size(memory_mib=513)},
        "dev.rest.memory_mib: must be 512 to 2048 in steps of 512 with 256 cpu_units, was 513",
    ),
    (
        DEV,
        {"rest": size(cpu_units=300)},
        "dev.rest.cpu_units: must be 256, 512, 1024, 2048, 4096, 8192 or 16384, was 300",
    ),
    (DEV, {"rest": size(task_count=0)}, "dev.rest.task_count: must be 1 to 50, was 0"),
    (
        DEV,
        {"engine": size(task_count=3)},
        "dev.engine.task_count: must be 1 (leader) or 2 (leader and hot standby), was 3",
    ),
    (
        DEV,
        {"ledger": size(task_count=2)},
        "dev.ledger.task_count: must be 1, since one process writes what it writes, was 2",
    ),
    (
        DEV,
        {"database": dataclasses.replace(DATABASE, capacity_units_min=8.0)},
        "dev.database.capacity_units_min: must be at most capacity_units_max 4, was 8.0",
    ),
    (
        DEV,
        {"database": dataclasses.replace(DATABASE, capacity_units_min=0.7)},
        "dev.database.capacity_units_min: must be a multiple of 0.5, was 0.7",
    ),
    (
        DEV,
        {"database": dataclasses.replace(DATABASE, backup_retention_days=3)},
        "dev.database.backup_retention_days: must be 7 to 35, was 3",
    ),
    (
        DEV,
        {"journal_brokers": BrokerConfig(instance_type="t3.small", count_per_zone=1, storage_gib=100)},
        (
            "dev.journal_brokers.instance_type: must be a broker type of family m5 or m7g, such as kafka.m5.large,"
            " was 't3.small'"
        ),
    ),
    (
        DEV,
        {"websocket": WebSocketConfig(instance_type="c7i.large", instance_count_min=1, instance_count_max=2)},
        "dev.websocket.instance_type: must be a Graviton type of family c6g to c8g, such as c7g.large, was 'c7i.large'",
    ),
    (
        DEV,
        {"websocket": WebSocketConfig(instance_type="c7g.large", instance_count_min=2, instance_count_max=2)},
        "dev.websocket.instance_count_min: must be less than instance_count_max 2, was 2",
    ),
    (PROD, {"durability": Durability.DISPOSABLE}, "prod.durability: must be 'retained', was 'disposable'"),
    (
        PROD,
        {"network": NetworkConfig(cidr="10.30.0.0/16", az_count=2, endpoint_zone_count=1)},
        "prod.network.az_count: must be 3, since a journal of three replicas survives the loss of one, was 2",
    ),
]


@pytest.mark.parametrize(("environment", "change", "message"), WRONG, ids=[message[:44] for _, _, message in WRONG])
def test_a_wrong_value_is_one_line(environment: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(dataclasses.replace(environment, **change))
    assert str(caught.value) == f"config/environments.py: {message}"


def test_every_wrong_value_is_told_at_once() -> None:
    broken = dataclasses.replace(
        DEV, domain="X", region="x", network=NetworkConfig(cidr="1", az_count=9, endpoint_zone_count=1)
    )  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        checked(broken)
    assert len(str(caught.value).splitlines()) == 4


def test_a_catalogue_that_no_parameter_can_hold_is_refused() -> None:
    assets = tuple(
        CATALOGUE.assets[0].model_copy(update={"id": 100 + i, "name": f"A{i}", "title": "x" * 60}) for i in range(100)
    )
    large = CATALOGUE.model_copy(update={"assets": CATALOGUE.assets + assets})
    with pytest.raises(ConfigError, match=r"dev\.catalogue: must be at most 8192 bytes as JSON, was \d+$"):
        checked(dataclasses.replace(DEV, catalogue=large))


def test_what_is_committed_is_right() -> None:
    assert load_environments() == ENVIRONMENTS
    assert [environment.name for environment in load_environments("prod")] == ["prod"]
    assert len({environment.network.cidr for environment in ENVIRONMENTS}) == len(ENVIRONMENTS)  # they may be peered


def without_custody(environment: config.model.Environment) -> dict[str, str]:
    """Return the samples but for the many of keys and nodes."""
    return {path: value for path, value in samples(environment).items() if not path.startswith(("custody.", "nodes."))}


def test_what_only_a_deployer_knows_is_found() -> None:
    accounts = dict.fromkeys(("core", "wallet", "nodes", "audit"), "123456789012")
    assert without_custody(DEV) == {
        **{f"accounts.{name}": account for name, account in accounts.items()},
        "domain": "dev.bursa.example",
        "hosted_zone_id": "Z0DEV00000000000",
        "edge.origin_facing": "pl-00000000",
        "records.regulator_account": "444444444441",
        "operations.runbooks_url": "https://code.bursa.example/bursa/docs/runbooks",
        "operations.pager_url": "https://pager.bursa.example/sns/dev",
        "operations.ticket_email": "operations-dev@bursa.example",
        "connectors.kyc_url": "https://kyc.partner.example/v1/checks",
        "connectors.bank_url": "https://bank.partner.example/v1/payouts",
        "connectors.screening_url": "https://screening.partner.example/v1/addresses",
    }
    known = {
        "accounts": Accounts(**accounts),
        "domain": "a.example",
        "hosted_zone_id": "Z12345678",
        "edge": dataclasses.replace(DEV.edge, origin_facing="pl-12345678"),
        "records": dataclasses.replace(DEV.records, regulator_account="123456789012"),
        "operations": OperationsConfig(
            runbooks_url="https://a.example/runbooks", pager_url="https://a.example/sns", ticket_email="a@a.example"
        ),
        "connectors": ConnectorsConfig(
            kyc_url="https://a.example/kyc", bank_url="https://a.example/pay", screening_url="https://a.example/screen"
        ),
    }
    assert without_custody(dataclasses.replace(DEV, **known)) == {}
    partner = dataclasses.replace(DEV.partners, market_makers=(dataclasses.replace(MAKER, account=Sample("1")),))
    assert without_custody(dataclasses.replace(DEV, **known, partners=partner)) == {
        "partners.market_makers[0].account": "1"
    }


def test_an_account_that_holds_several_parts_is_told_once() -> None:
    assert DEV.accounts.distinct() == {"core": "123456789012"}
    assert list(PROD.accounts.distinct()) == ["core", "wallet", "nodes", "audit"]


def app(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | {"CDK_OUTDIR": str(tmp_path / "out")} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_unknown_environment_is_one_line_and_no_stack_trace(tmp_path: Path) -> None:
    ran = app(tmp_path, ENV="production")
    assert ran.returncode == 1
    assert ran.stderr.strip().splitlines()[-1] == "ENV: must be one of dev, staging, prod, was 'production'"
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("environments.py", "az_count=2", "az_cuont=2", "unexpected keyword argument 'az_cuont'"),
        (
            "environments.py",
            "az_count=2",
            "az_count=5",
            "config/environments.py: dev.network.az_count: must be 2 or 3, was 5",
        ),
        (
            "environments.py",
            "trade_stream_retention_hours=24",
            "trade_stream_retention_hours=0",
            "config/environments.py: dev.trade_stream_retention_hours: must be 24 to 8760, was 0",
        ),
        ("markets.py", 'tick="0.01"', 'tick="0.x1"', "config/markets.py:"),
        (
            "markets.py",
            'lot="0.00001"',
            'lot="0.000000001"',
            "markets[BTCUSDT].lot: was 0.000000001, allowed: a positive",
        ),
        ("markets.py", 'base="BTC"', 'base="BTX"', "markets[BTXUSDT].base: was BTX, allowed: BTC, ETH, USDT, IDR"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    """The program is run on a copy of `config/` with one mistake in it."""
    for name in ("app.py", "cdk.json", "runtime", "stacks", "constructs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "config").mkdir()
    for source in (ROOT / "config").glob("*.py"):
        text = source.read_text()
        (tmp_path / "config" / source.name).write_text(text.replace(old, new, 1) if source.name == file else text)
    ran = subprocess.run(
        [sys.executable, "-c", "import app"],
        cwd=tmp_path,
        env=os.environ | {"CDK_OUTDIR": str(tmp_path / "out")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    last = ran.stderr.strip().splitlines()[-1]
    assert ran.returncode == 1
    assert message in last
    assert last.startswith("config/")
    assert "Traceback" not in ran.stderr


def test_the_model_names_its_own_file() -> None:
    assert (ROOT / config.model.SOURCE).is_file()


def test_database_units_may_be_whole_numbers() -> None:
    whole = DatabaseConfig(capacity_units_min=1, capacity_units_max=2, reader_count=1, backup_retention_days=7)
    assert checked(dataclasses.replace(DEV, database=whole)).database == whole
