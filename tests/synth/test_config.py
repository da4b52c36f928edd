"""A wrong value in `config/` is one clear line: file, field, what is allowed, what was given."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import config.model
from config.checks import Sample
from config.environments import CONTROLS, DEV, ENVIRONMENTS, OFFBOARDING_APPROVERS, PROD, RECONCILIATION
from config.images import ImagesConfig
from config.markets import CATALOGUE
from config.model import (
    BrokerConfig,
    ConfigError,
    ConnectorsConfig,
    DatabaseConfig,
    Durability,
    Environment,
    NetworkConfig,
    OperationsConfig,
    ScaledFargateSize,
    checked,
    load_environments,
    samples,
)
from config.perimeter import Accounts, MarketMaker
from config.reconciliation import HeldAddress

ROOT = Path(__file__).resolve().parents[2]
ENCLAVES = "a type for enclaves that Jakarta has, .xlarge or more: m6i, m7i, m7g, m8g, c7i, c7g, r7i, r7g"
MAKER = MarketMaker(name="Maker", account="444444444444")
ETHEREUM, BITCOIN = "nodes.chains.0", "nodes.chains.1"


def put(part: Any, path: str, value: Any) -> Any:
    """Return `part` with `value` at `path`: names and numbers of entries, joined by dots."""
    name, _, rest = path.partition(".")
    if isinstance(part, tuple):
        at = int(name)
        return (*part[:at], put(part[at], rest, value) if rest else value, *part[at + 1 :])
    return dataclasses.replace(part, **{name: put(getattr(part, name), rest, value) if rest else value})


WRONG: list[tuple[Environment, str, Any, str]] = [
    # ---- where it stands
    (DEV, "region", "eu-west-1", "region: must be 'ap-southeast-3', was 'eu-west-1'"),
    (DEV, "web_region", "ap-southeast-3", "web_region: must be 'ap-southeast-1', was 'ap-southeast-3'"),
    (DEV, "accounts.audit", "12345", "accounts.audit: must be an AWS account id of 12 digits, was '12345'"),
    (DEV, "accounts.wallet", Sample("x"), "accounts.wallet: must be an AWS account id of 12 digits, was x"),
    (DEV, "domain", "Bursa", "domain: must be a domain name in lower case, was 'Bursa'"),
    (
        DEV,
        "hosted_zone_id",
        "zone",
        "hosted_zone_id: must be the id of a public Route 53 zone, such as Z0123456789AB, was 'zone'",
    ),
    (PROD, "durability", Durability.DISPOSABLE, "durability: must be 'retained', was 'disposable'"),
    # ---- networks
    (DEV, "network.az_count", 5, "network.az_count: must be 2 or 3, was 5"),
    (
        PROD,
        "network",
        NetworkConfig(cidr="10.30.0.0/16", az_count=2, endpoint_zone_count=1),
        "network.az_count: must be 3, since a journal of three replicas survives the loss of one, was 2",
    ),
    (
        DEV,
        "network.cidr",
        "8.8.0.0/16",
        "network.cidr: must be a private IPv4 block of /16 to /19, such as 10.10.0.0/16, was '8.8.0.0/16'",
    ),
    (
        DEV,
        "network.cidr",
        "10.10.0.1/16",
        "network.cidr: must be a private IPv4 block of /16 to /19, such as 10.10.0.0/16, was '10.10.0.1/16'",
    ),
    (
        DEV,
        "network.endpoint_zone_count",
        3,
        "network.endpoint_zone_count: must be at most network.az_count 2, was 3",
    ),
    (
        DEV,
        "canary_symbol",
        "BTCEUR",
        "canary_symbol: must be a market of the catalogue: BTCUSDT, ETHUSDT, BTCIDR, ETHIDR, was 'BTCEUR'",
    ),
    (DEV, "egress.zone_count", 3, "egress.zone_count: must be at most network.az_count 2, was 3"),
    (
        DEV,
        "egress.domains",
        ("https://api.example.com",),
        "egress.domains.0: must be a domain name in lower case, was 'https://api.example.com'",
    ),
    (
        DEV,
        "partners.dmz_cidr",
        "10.10.4.0/22",
        "partners.dmz_cidr: must not overlap network.cidr 10.10.0.0/16, was '10.10.4.0/22'",
    ),
    (DEV, "partners.market_makers", (MAKER, MAKER), "partners: must name each partner once, was 'Maker'"),
    (
        PROD,
        "partners.data_centres.0.asn",
        PROD.partners.line_asn,
        (
            f"partners.data_centres.{PROD.partners.data_centres[0].name}.asn: must differ from partners.line_asn,"
            f" was {PROD.partners.line_asn}"
        ),
    ),
    (
        DEV,
        "edge.origin_facing",
        "0.0.0.0/0",
        "edge.origin_facing: must be the id of a prefix list (pl-...) or of a security group (sg-...), was '0.0.0.0/0'",
    ),
    (
        DEV,
        "edge.denied_countries",
        ("Indonesia",),
        "edge.denied_countries.0: must be a country of two capital letters, was 'Indonesia'",
    ),
    # ---- what is kept, and how long
    (DEV, "log_retention_days", 31, "log_retention_days: must be 30, 90, 180, 365, 731, 1827 or 3653, was 31"),
    (
        PROD,
        "audit.retention_days",
        365,
        "audit.retention_days: must be at least 1827 (five years), was 365",
    ),
    (
        DEV,
        "audit.lock_mode",
        "COMPLIANCE",
        "audit.lock_mode: must be 'GOVERNANCE': in prod records stay, of a trial they can go, was 'COMPLIANCE'",
    ),
    (
        PROD,
        "records.ledger_years",
        4,
        "records.ledger_years: must be at least 5, the floor of the law, was 4",
    ),
    (
        PROD,
        "records.lock_mode",
        "GOVERNANCE",
        "records.lock_mode: must be 'COMPLIANCE': in prod records stay, of a trial they can go, was 'GOVERNANCE'",
    ),
    (PROD, "backup.locked", False, "backup.locked: must be True, was False"),
    (DEV, "backup.restore_test_days", 14, "backup.restore_test_days: must be 7 or 30, was 14"),
    (DEV, "records.price_months", 5, "records.price_months: must be 6 to 120, was 5"),
    (DEV, "database.backup_retention_days", 3, "database.backup_retention_days: must be 7 to 35, was 3"),
    (
        DEV,
        "trade_stream_retention_hours",
        23,
        "trade_stream_retention_hours: must be 24 to 8760, was 23",
    ),
    # ---- sizes
    (DEV, "ledger.memory_mib", "512", "ledger.memory_mib: must be a valid integer, was '512'"),
    (
        DEV,
        "rest",
        ScaledFargateSize(cpu_units=256, memory_mib=513, task_count=1, task_count_max=2),
        "rest.memory_mib: must be 512 to 2048 in steps of 512 with 256 cpu_units, was 513",
    ),
    (DEV, "rest.cpu_units", 300, "rest.cpu_units: must be 256, 512, 1024, 2048, 4096, 8192 or 16384, was 300"),
    (DEV, "rest.task_count", 0, "rest.task_count: must be 1 to 50, was 0"),
    (DEV, "rest.task_count", 2, "rest.task_count: must be less than task_count_max 2, was 2"),
    (
        DEV,
        "engine.task_count",
        3,
        "engine.task_count: must be 1 (leader) or 2 (leader and hot standby), was 3",
    ),
    (
        DEV,
        "ledger.task_count",
        2,
        "ledger.task_count: must be 1, since one process writes what it writes, was 2",
    ),
    (
        DEV,
        "database.capacity_units_min",
        8.0,
        "database.capacity_units_min: must be at most capacity_units_max 4, was 8.0",
    ),
    (DEV, "database.capacity_units_min", 0.7, "database.capacity_units_min: must be a multiple of 0.5, was 0.7"),
    (
        DEV,
        "journal_brokers",
        BrokerConfig(instance_type="t3.small", count_per_zone=1, storage_gib=100),
        (
            "journal_brokers.instance_type: must be a broker type of family m5 or m7g, such as kafka.m5.large,"
            " was 't3.small'"
        ),
    ),
    (
        PROD,
        "journal_brokers.count_per_zone",
        0,
        "journal_brokers.count_per_zone: must be 1 to 5, was 0",
    ),
    (
        DEV,
        "websocket.instance_type",
        "c7i.large",
        "websocket.instance_type: must be a Graviton type of family c6g to c8g, such as c7g.large, was 'c7i.large'",
    ),
    (
        DEV,
        "websocket.instance_count_min",
        100,
        (
            f"websocket.instance_count_min: must be less than instance_count_max {DEV.websocket.instance_count_max},"
            " was 100"
        ),
    ),
    # ---- custody
    (
        DEV,
        "custody.signing_certificate_pcr8",
        "0" * 96,
        f"custody.signing_certificate_pcr8: must not be all zero, which is an enclave in debug mode, was '{'0' * 96}'",
    ),
    (
        DEV,
        "custody.images.1.pcr0",
        "0" * 96,
        f"custody.images.1.pcr0: must not be all zero, which is an enclave in debug mode, was '{'0' * 96}'",
    ),
    (
        DEV,
        "custody.signing_certificate_pcr8",
        "ab" * 32,
        (
            "custody.signing_certificate_pcr8: must be 96 hexadecimal digits in lower case, as SHA-384 has (given: 64),"
            f" was '{'ab' * 32}'"
        ),
    ),
    (
        DEV,
        "custody.signing_certificate_pcr8",
        "AB" * 48,
        (
            "custody.signing_certificate_pcr8: must be 96 hexadecimal digits in lower case, as SHA-384 has (given: 96),"
            f" was '{'AB' * 48}'"
        ),
    ),
    (DEV, "custody.instance_type", "t3.xlarge", f"custody.instance_type: must be {ENCLAVES}, was 't3.xlarge'"),
    (DEV, "custody.instance_type", "m7g.large", f"custody.instance_type: must be {ENCLAVES}, was 'm7g.large'"),
    (
        DEV,
        "custody.machine_image",
        "latest",
        "custody.machine_image: must be the id of a machine image, such as ami-0123456789abcdef0, was 'latest'",
    ),
    (
        DEV,
        "custody.instance_count_min",
        3,
        "custody.instance_count_min: must be at most instance_count_max 2, was 3",
    ),
    (DEV, "custody.images", (), "custody.images: must be 1 to 4 different builds, was 0"),
    (
        DEV,
        "custody.images",
        DEV.custody.images[:1],
        "custody.images: must have one for arm64, which the hosts are, was 'm7g.xlarge'",
    ),
    (
        DEV,
        "custody.administrator_role",
        "WalletAdministrator",
        (
            "custody.administrator_role: must be the ARN of a role, such as arn:aws:iam::123456789012:role/Name,"
            " was 'WalletAdministrator'"
        ),
    ),
    (
        DEV,
        "custody.administrator_role",
        str(DEV.custody.break_glass_role),
        (
            "custody.break_glass_role: must be another role than administrator_role,"
            " was arn:aws:iam::123456789012:role/bursa-break-glass"
        ),
    ),
    (
        DEV,
        "custody.break_glass_role",
        "arn:aws:iam::123456789012:role/WalletBreakGlass",
        (
            "custody.break_glass_role: must be called bursa-break-glass: policies of the organization and the watch"
            " know it by this name, was 'arn:aws:iam::123456789012:role/WalletBreakGlass'"
        ),
    ),
    (
        DEV,
        "custody.break_glass_role",
        "arn:aws:iam::999999999999:role/bursa-break-glass",
        (
            "custody.break_glass_role: must be a role of the wallet account 123456789012,"
            " was 'arn:aws:iam::999999999999:role/bursa-break-glass'"
        ),
    ),
    # ---- chains and withdrawals
    (
        DEV,
        f"{ETHEREUM}.assets.1.name",
        "DOGE",
        "nodes.chains.ethereum.assets: must be a coin of the catalogue: BTC, ETH, USDT, was 'DOGE'",
    ),
    (DEV, f"{ETHEREUM}.assets.0.confirmations", 1, f"{ETHEREUM}.assets.0.confirmations: must be 2 to 500, was 1"),
    (
        DEV,
        f"{ETHEREUM}.builds.0.digests.0",
        "latest",
        f"{ETHEREUM}.builds.0.digests.0: must be a SHA-256 as 64 hexadecimal digits in lower case, was 'latest'",
    ),
    (
        DEV,
        f"{ETHEREUM}.builds.0.instance_type",
        "r7g.2xlarge",
        "nodes.chains.ethereum.builds.instance_type: must be of x86_64, was 'r7g.2xlarge'",
    ),
    (
        PROD,
        f"{BITCOIN}.network",
        "1",
        "nodes.chains.bitcoin.network: must be that of bitcoin: main, test, testnet4, signet or regtest, was '1'",
    ),
    (
        DEV,
        f"{ETHEREUM}.network",
        "main",
        "nodes.chains.ethereum.network: must be that of ethereum: a chain id, was 'main'",
    ),
    (PROD, f"{BITCOIN}.genesis", "0x1", f"{BITCOIN}.genesis: must be the hash of block 0, was '0x1'"),
    (
        DEV,
        "withdrawals.rules.0.asset",
        "DOGE",
        "withdrawals.rules.0.asset: must be an asset of the catalogue, was 'DOGE'",
    ),
    (DEV, "withdrawals.rules", (), "withdrawals.rules: must have one rule at least, was 0"),
    (
        DEV,
        "withdrawals.rules.0.minimum",
        0,
        f"withdrawals.rules.0.minimum: must be 1 to {2**62 - 1}, was 0",
    ),
    (
        DEV,
        "withdrawals.rules.0.day_max",
        1,
        "withdrawals.rules.0: must have fee < minimum <= transaction_max <= day_max <= hour_max, was 'ETH'",
    ),
    (
        DEV,
        "images.base",
        "python:3.13-slim",
        (
            "images.base: must be an image by digest, such as registry.example/library/python:3.13-slim@sha256:"
            "<64 hexadecimal digits>, was 'python:3.13-slim'"
        ),
    ),
    # ---- addresses of others
    (
        DEV,
        "operations.runbooks_url",
        "https://a.example/runbooks/",
        "operations.runbooks_url: must be an https address without a slash at its end, was 'https://a.example/runbooks/'",
    ),
    (
        DEV,
        "connectors.kyc_url",
        "http://kyc.example/v1",
        "connectors.kyc_url: must be an https address with a path, was 'http://kyc.example/v1'",
    ),
    (
        DEV,
        "records.regulator_account",
        "OJK",
        "records.regulator_account: must be an AWS account id of 12 digits, was 'OJK'",
    ),
    (
        DEV,
        "records.bourse.account",
        "CFX",
        "records.bourse.account: must be an AWS account id of 12 digits, was 'CFX'",
    ),
    (
        DEV,
        "records.clearing.external_id",
        "short",
        "records.clearing.external_id: must be 16 to 64 letters, digits and hyphens, was 'short'",
    ),
    (
        DEV,
        "records.clearing.external_id",
        "bourse-of-dev-0000",
        "records.clearing.external_id: must differ from that of records.bourse, was 'bourse-of-dev-0000'",
    ),
    (
        DEV,
        "records.bourse.reports",
        ("trades", "suspicious-transactions"),
        "records.bourse.reports.1: must be 'trades' or 'tax', was 'suspicious-transactions'",
    ),
    (
        DEV,
        "records.bourse.reports",
        ("tax", "tax"),
        """records.bourse.reports: must name each report once, was "('tax', 'tax')\"""",
    ),
    (
        DEV,
        "records.bourse.deliver_within_hours",
        0,
        "records.bourse.deliver_within_hours: must be 1 to 168, was 0",
    ),
]


@pytest.mark.parametrize(
    ("environment", "path", "value", "message"), WRONG, ids=[message[:44] for *_, message in WRONG]
)
def test_a_wrong_value_is_one_line(environment: Environment, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(put(environment, path, value))
    assert str(caught.value) == f"config/environments.py: {environment.name}.{message}"


def test_each_kind_of_mistake_stands_once_in_the_list() -> None:
    assert len({message for *_, message in WRONG}) == len(WRONG) > 20


def test_every_wrong_value_is_told_at_once() -> None:
    broken = put(put(put(put(DEV, "domain", "X"), "region", "x"), "network.cidr", "1"), "network.az_count", 9)
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
        "images.collector": f"public.ecr.aws/aws-observability/aws-otel-collector@sha256:{'0' * 64}",
        "images.base": f"public.ecr.aws/docker/library/python:3.13-slim-bookworm@sha256:{'0' * 64}",
        **{
            f"reconciliation.wallets[{number}].address": each.address
            for number, each in enumerate(RECONCILIATION.wallets)
        },
        **{f"offboarding.approvers[{number}]": key for number, key in enumerate(OFFBOARDING_APPROVERS)},
        **{f"controls.approvers[{number}]": key for number, key in enumerate(CONTROLS.approvers)},
        "records.regulator_account": "444444444441",
        "records.bourse.account": "555555555551",
        "records.bourse.external_id": "bourse-of-dev-0000",
        "records.clearing.account": "666666666661",
        "records.clearing.external_id": "clearing-of-dev-0000",
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
        "images": ImagesConfig(
            base=f"registry.example/library/python@sha256:{'1' * 64}",
            collector=f"registry.example/collector@sha256:{'2' * 64}",
        ),
        "offboarding": dataclasses.replace(DEV.offboarding, approvers=("a" * 64, "b" * 64, "c" * 64)),
        "controls": dataclasses.replace(DEV.controls, approvers=("a" * 64, "b" * 64, "c" * 64)),
        "reconciliation": dataclasses.replace(
            RECONCILIATION, wallets=(HeldAddress(name="cold-1", address="0x" + "a" * 40),)
        ),
        "records": dataclasses.replace(DEV.records, regulator_account="123456789012", bourse=None, clearing=None),
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


def run_app(folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_unknown_environment_is_one_line_and_no_stack_trace(tmp_path: Path) -> None:
    ran = run_app(ROOT, {"ENV": "production", "CDK_OUTDIR": str(tmp_path / "out")})
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
        (
            "markets.py",
            'tick="1000"',
            'tick="0.001"',
            "markets[BTCIDR].tick: was 0.001, allowed: a tick that times the lot 0.00001 is a multiple of 10**-2 IDR",
        ),
        (
            "environments.py",
            'Sample("arn:aws:iam::123456789012:role/WalletAdministrator")',
            '"WalletAdministrator"',
            "dev.custody.administrator_role: must be the ARN of a role, such as arn:aws:iam::123456789012:role/Name,",
        ),
        (
            "environments.py",
            'Accounts.single(Sample("123456789012"))',
            'Accounts.single("12345")',
            "dev.accounts.audit: must be an AWS account id of 12 digits, was '12345'",
        ),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    """The program is run on a copy of `config/` with one mistake in it."""
    ran = app_with(tmp_path, f"config/{file}", old, new)
    last = ran.stderr.strip().splitlines()[-1]
    assert ran.returncode == 1
    assert message in last
    assert last.startswith("config/")
    assert "Traceback" not in ran.stderr


def test_an_acceptance_that_expired_before_the_review_is_one_line(tmp_path: Path) -> None:
    """The review is said to be of a later day than every acceptance lasts."""
    ran = app_with(
        tmp_path, "constructs/exchange_constructs/nag.py", "AS_OF: Final = date(2026,", "AS_OF: Final = date(2028,"
    )
    assert ran.returncode == 1
    last = ran.stderr.strip().splitlines()[-1]
    assert re.fullmatch(r"Dev/Audit/[\w/]+: acceptance of .+ expired on 2027-\d\d-\d\d, reviewed as of 2028-.+", last)
    assert "Traceback" not in ran.stderr


def app_with(folder: Path, file: str, old: str, new: str) -> subprocess.CompletedProcess[str]:
    """Run the program for dev on a copy of what it reads, where `file` has `new` in the place of `old`."""
    for name in ("config", "constructs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("app.py", "cdk.json"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("runtime", "stacks"):
        (folder / name).symlink_to(ROOT / name)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    variables = {"ENV": "dev", "CDK_OUTDIR": str(folder / "out"), "PYTHONPATH": str(folder / "constructs")}
    return run_app(folder, variables)


def test_the_model_names_its_own_file() -> None:
    assert (ROOT / config.model.SOURCE).is_file()


def test_database_units_may_be_whole_numbers() -> None:
    whole = DatabaseConfig(capacity_units_min=1, capacity_units_max=2, reader_count=1, backup_retention_days=7)
    assert checked(put(DEV, "database", whole)).database == whole
