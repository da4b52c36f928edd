"""The shape of an environment, and what each value may be; the values themselves are in `environments.py`.

The types are plain frozen dataclasses, so mypy checks a literal as it is written. `checked` then holds every value
against its bounds and reports all that is wrong at once, each in one line: file, field, values allowed, value given.
"""

import importlib
import ipaddress
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, TypeAdapter, ValidationError

from config.analytics import AnalyticsConfig
from config.business import BusinessConfig
from config.checks import Checked, Sample, between, matching
from config.controls import ControlConfig
from config.custody import CustodyConfig
from config.images import ImagesConfig
from config.liquidity import LiquidityConfig
from config.migration import MigrationConfig
from config.monitoring import MonitoringConfig
from config.nodes import NodesConfig
from config.offboarding import OffboardingConfig
from config.perimeter import (
    AUDIT_DAYS_MIN,
    Accounts,
    AuditConfig,
    BackupConfig,
    DomainName,
    EdgeConfig,
    EgressConfig,
    PartnersConfig,
)
from config.reconciliation import ReconciliationConfig
from config.records import LEDGER_YEARS_MIN, RecordsConfig
from config.withdrawals import WithdrawalConfig
from runtime.shared.catalogue import Catalogue, first_problem

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = "config/environments.py"
CATALOGUE_BYTES_MAX: Final = 8192
"""What an advanced SSM parameter can hold."""
FARGATE_MEMORY_MIB: Final[Mapping[int, range]] = {
    256: range(512, 2048 + 1, 512),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16_384 + 1, 1024),
    4096: range(8192, 30_720 + 1, 1024),
    8192: range(16_384, 61_440 + 1, 4096),
    16_384: range(32_768, 122_880 + 1, 8192),
}
"""Memory that Fargate offers with each number of CPU units (1024 are one vCPU)."""


class ConfigError(ValueError):
    """The configuration cannot be used. The message has one line for each wrong value."""


class Durability(StrEnum):
    """What happens to stored data when its resource leaves the template or its stack is deleted."""

    RETAINED = "retained"
    DISPOSABLE = "disposable"


def _network_block(text: str) -> str:
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError:
        block = None
    if block is None or not block.is_private or block.prefixlen not in range(16, 20):
        raise ValueError("must be a private IPv4 block of /16 to /19, such as 10.10.0.0/16")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig(Checked):
    """The private network. Each zone holds a public, an application, a data, an egress and an inspection subnet."""

    cidr: Annotated[str, AfterValidator(_network_block)]
    az_count: Literal[2, 3]
    endpoint_zone_count: Annotated[int, between(1, 3)]
    """Zones in which each AWS service has an endpoint. One costs least, and its loss is the loss of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig(Checked):
    """Aurora PostgreSQL. One capacity unit is about 2 GiB of memory with the CPU that goes with it."""

    capacity_units_min: Annotated[float, between(0.5, 128)]
    capacity_units_max: Annotated[float, between(1, 256)]
    reader_count: Annotated[int, between(1, 5)]
    backup_retention_days: Annotated[int, between(7, 35)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig(Checked):
    """Provisioned Kafka brokers, the same number in each zone."""

    instance_type: Annotated[
        str, matching(r"kafka\.m[57]g?\.\d*x?large", "a broker type of family m5 or m7g, such as kafka.m5.large")
    ]
    count_per_zone: Annotated[int, between(1, 5)]
    storage_gib: Annotated[int, between(100, 16_384)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FargateSize(Checked):
    """Size and number of one service's tasks."""

    cpu_units: Literal[256, 512, 1024, 2048, 4096, 8192, 16_384]
    memory_mib: int
    task_count: Annotated[int, between(1, 50)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionalFargateSize(FargateSize):
    """A service that not everybody needs: 0 tasks turn it off, and nothing is watched for their lack."""

    task_count: Annotated[int, between(0, 50)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledFargateSize(FargateSize):
    """A service whose tasks hold nothing: there are more of them while they are busy."""

    task_count_max: Annotated[int, between(2, 200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketConfig(Checked):
    """Hosts of the WebSocket gateway: one process each, so memory bounds the connections."""

    instance_type: Annotated[
        str, matching(r"c[678]gn?\.\d*x?large", "a Graviton type of family c6g to c8g, such as c7g.large")
    ]
    instance_count_min: Annotated[int, between(1, 100)]
    instance_count_max: Annotated[int, between(1, 100)]


PartnerUrl = Annotated[str, matching(r"https://[a-z0-9.-]+/\S*", "an https address with a path")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorsConfig(Checked):
    """The APIs of partners that are asked by events. Their keys are in secrets, never here."""

    kyc_url: PartnerUrl
    bank_url: PartnerUrl
    screening_url: PartnerUrl

    @property
    def urls(self) -> dict[str, str]:
        """Address by partner."""
        return {"kyc": self.kyc_url, "bank": self.bank_url, "screening": self.screening_url}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsConfig(Checked):
    """Whom alarms reach, and where the reader of one finds what to do."""

    runbooks_url: Annotated[str, matching(r"https://\S+[^/\s]", "an https address without a slash at its end")]
    """Where `docs/runbooks/` is published; an alarm links to a page under it."""
    pager_url: Annotated[str, matching(r"https://\S+", "an https address that takes messages of SNS")]
    """Wakes whoever is on call."""
    ticket_email: Annotated[str, matching(r"[^@\s]+@[^@\s]+\.[a-z]+", "an e-mail address")]
    """Gets what can wait for the morning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Checked):
    """Everything that differs between environments. Values vary, the structure does not."""

    name: Literal["dev", "staging", "prod"]
    accounts: Accounts
    region: Literal["ap-southeast-3"]
    """Holds all trading, ledger, customer, key and log data: the region in Indonesia."""
    web_region: Literal["ap-southeast-1"]
    """Holds the static web bundle only: Amplify is not offered in Jakarta."""
    edge_region: Literal["us-east-1"]
    """Where CloudFront takes its certificate and web ACL from."""
    domain: DomainName
    hosted_zone_id: Annotated[
        str, matching(r"Z[A-Z0-9]{7,31}", "the id of a public Route 53 zone, such as Z0123456789AB")
    ]
    mail_verified: bool
    """Whether SES has proven our mail domain and left its sandbox; until then customers get mail in Cognito's name."""
    durability: Durability
    log_retention_days: Literal[30, 90, 180, 365, 731, 1827, 3653]
    network: NetworkConfig
    egress: EgressConfig
    edge: EdgeConfig
    partners: PartnersConfig
    audit: AuditConfig
    backup: BackupConfig
    custody: CustodyConfig
    withdrawals: WithdrawalConfig
    reconciliation: ReconciliationConfig
    business: BusinessConfig
    liquidity: LiquidityConfig
    offboarding: OffboardingConfig
    controls: ControlConfig
    migration: MigrationConfig
    analytics: AnalyticsConfig
    nodes: NodesConfig
    deposits: FargateSize
    """Of the deposit watchers, one for each chain."""
    price_feed: FargateSize
    reference_symbols: tuple[str, ...]
    """Markets whose price bands follow other venues; every venue must list them. The others follow their last trade."""
    canary_symbol: str
    """Market in which the canary places its orders."""
    database: DatabaseConfig
    journal_brokers: BrokerConfig | None
    """Brokers of the engine's command journal; None is MSK Serverless."""
    trade_stream_retention_hours: Annotated[int, between(24, 8760)]
    engine: FargateSize
    market_data: FargateSize
    ledger: FargateSize
    rest: ScaledFargateSize
    fix: OptionalFargateSize
    websocket: WebSocketConfig
    images: ImagesConfig
    monitoring: MonitoringConfig
    records: RecordsConfig
    operations: OperationsConfig
    connectors: ConnectorsConfig
    catalogue: Catalogue

    @property
    def account(self) -> str:
        """The account of most stacks."""
        return self.accounts.core

    @property
    def api_name(self) -> str:
        """The public name of the API."""
        return f"api.{self.domain}"

    @property
    def mail_domain(self) -> str:
        """What stands behind the @ of our mail to customers."""
        return f"mail.{self.domain}"

    @property
    def hosts_outside(self) -> tuple[str, ...]:
        """Everything that may be reached from inside: venues, and our own public name, for the canary."""
        return (*self.egress.domains, self.api_name)

    @property
    def retained(self) -> bool:
        """Whether stored data outlives its stack."""
        return self.durability is Durability.RETAINED


def checked(environment: Environment) -> Environment:
    """Return `environment` when every value is allowed. Raises ConfigError with a line for each that is not."""
    problems: list[str] = []
    try:
        TypeAdapter(Environment).validate_python(environment)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            path = ".".join(str(part) for part in problem["loc"])
            allowed = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
            problems.append(_line(environment, path, allowed, problem["input"]))
    else:
        problems.extend(_line(environment, *rule) for rule in _broken_rules(environment))
    if problems:
        raise ConfigError("\n".join(problems))
    return environment


def _line(environment: Environment, path: str, allowed: str, given: object) -> str:
    line = f"{SOURCE}: {environment.name}.{path}: {allowed}"
    if not isinstance(given, str | int | float | None):
        return line  # a rule within a whole part, such as the catalogue: it names what it refuses
    return f"{line}, was {str(given) if isinstance(given, Sample | Durability) else repr(given)}"


def _broken_rules(environment: Environment) -> Iterator[tuple[str, str, object]]:
    """Yield what the bounds of single values cannot say: path, what is allowed, value given."""
    yield from _broken_sizes(environment)
    yield from _broken_counts(environment)
    if environment.name == "prod":
        if not environment.retained:
            yield "durability", f"must be {Durability.RETAINED.value!r}", environment.durability.value
        if environment.network.az_count != 3:  # noqa: PLR2004 - said in the message
            yield "network.az_count", "must be 3, since a journal of three replicas survives the loss of one", 2
    yield from _broken_perimeter(environment)
    yield from environment.custody.problems()
    yield from environment.withdrawals.problems()
    yield from environment.reconciliation.problems()
    yield from environment.migration.problems()
    yield from environment.analytics.problems(environment.network.az_count)
    yield from environment.offboarding.problems(environment.name)
    yield from environment.controls.problems()
    yield from environment.liquidity.problems(
        partners=set(environment.partners.maker_names()),
        symbols={market.symbol for market in environment.catalogue.markets},
        tiers={tier.name for tier in environment.catalogue.tiers},
    )
    known = {asset.name for asset in environment.catalogue.assets}
    for number, rule in enumerate(environment.withdrawals.rules):
        if rule.asset not in known:
            yield f"withdrawals.rules.{number}.asset", "must be an asset of the catalogue", rule.asset
        elif rule.asset not in environment.nodes.confirmations(rule.chain):
            allowed = f"must be an asset of nodes.chains.{rule.chain}, which tells when it is final"
            yield f"withdrawals.rules.{number}.asset", allowed, rule.asset
    yield from environment.nodes.problems()
    yield from _broken_deposits(environment)
    yield from _broken_markets(environment)
    yield from _broken_roles(environment)
    if (size_bytes := len(environment.catalogue.to_json().encode())) > CATALOGUE_BYTES_MAX:
        yield "catalogue", f"must be at most {CATALOGUE_BYTES_MAX} bytes as JSON", size_bytes


def _broken_markets(environment: Environment) -> Iterator[tuple[str, str, object]]:
    markets = f"of the catalogue: {', '.join(environment.catalogue.market_by_symbol)}"
    for symbol in environment.reference_symbols:
        if symbol not in environment.catalogue.market_by_symbol:
            yield "reference_symbols", f"must be markets {markets}", symbol
    if environment.canary_symbol not in environment.catalogue.market_by_symbol:
        yield "canary_symbol", f"must be a market {markets}", environment.canary_symbol


def _broken_perimeter(environment: Environment) -> Iterator[tuple[str, str, object]]:
    network, audit, backup = environment.network, environment.audit, environment.backup
    for path, count in (
        ("network.endpoint_zone_count", network.endpoint_zone_count),
        ("egress.zone_count", environment.egress.zone_count),
    ):
        if count > network.az_count:
            yield path, f"must be at most network.az_count {network.az_count}", count
    yield from _broken_partners(network.cidr, environment.partners)
    if backup.monthly_kept_days < backup.daily_kept_days:
        yield "backup.monthly_kept_days", f"must be at least {backup.daily_kept_days}", backup.monthly_kept_days
    if environment.name == "prod" and audit.retention_days < AUDIT_DAYS_MIN:
        yield "audit.retention_days", f"must be at least {AUDIT_DAYS_MIN} (five years)", audit.retention_days
    if environment.name == "prod" and not backup.locked:
        yield "backup.locked", "must be True", False
    yield from _broken_records(environment)
    lock_mode = "COMPLIANCE" if environment.name == "prod" else "GOVERNANCE"
    if audit.lock_mode != lock_mode:
        yield "audit.lock_mode", f"must be {lock_mode!r}: in prod records stay, of a trial they can go", audit.lock_mode


def _broken_deposits(environment: Environment) -> Iterator[tuple[str, str, object]]:
    listed = {asset.name for asset in environment.catalogue.assets if not asset.is_fiat}
    for chain in environment.nodes.chains:
        for asset in chain.assets:
            if asset.name not in listed:
                allowed = f"must be a coin of the catalogue: {', '.join(sorted(listed))}"
                yield f"nodes.chains.{chain.name}.assets", allowed, asset.name


def _broken_roles(environment: Environment) -> Iterator[tuple[str, str, object]]:
    wallet = environment.accounts.wallet
    for name in ("administrator_role", "break_glass_role"):
        role: str = getattr(environment.custody, name)
        if f"::{wallet}:" not in role:
            yield f"custody.{name}", f"must be a role of the wallet account {wallet}", role


def _broken_records(environment: Environment) -> Iterator[tuple[str, str, object]]:
    records = environment.records
    yield from records.problems()
    lock_mode = "COMPLIANCE" if environment.name == "prod" else "GOVERNANCE"
    if records.lock_mode != lock_mode:
        allowed = f"must be {lock_mode!r}: in prod records stay, of a trial they can go"
        yield "records.lock_mode", allowed, records.lock_mode
    if environment.name == "prod":
        for name in ("ledger_years", "reports_years", "evidence_years", "trades_years"):
            if (years := getattr(records, name)) < LEDGER_YEARS_MIN:
                yield f"records.{name}", f"must be at least {LEDGER_YEARS_MIN}, the floor of the law", years


def _broken_partners(cidr: str, partners: PartnersConfig) -> Iterator[tuple[str, str, object]]:
    names = list(partners.names())
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "partners", "must name each partner once", name
    asns = {"partners.amazon_asn": partners.amazon_asn, "partners.line_asn": partners.line_asn}
    asns |= {f"partners.data_centres.{centre.name}.asn": centre.asn for centre in partners.data_centres}
    ours = ("partners.amazon_asn", "partners.line_asn")
    for path, asn in asns.items():
        if same := [other for other in ours if other != path and asns[other] == asn]:
            yield path, f"must differ from {same[0]}", asn
    blocks = [("network.cidr", cidr), ("partners.dmz_cidr", partners.dmz_cidr)]
    blocks += [(f"partners.peered.{peer.name}.cidr", peer.cidr) for peer in partners.peered]
    blocks += [(f"partners.data_centres.{centre.name}.cidr", centre.cidr) for centre in partners.data_centres]
    for at, (path, block) in enumerate(blocks):
        for other, taken in blocks[:at]:
            if ipaddress.IPv4Network(block).overlaps(ipaddress.IPv4Network(taken)):
                yield path, f"must not overlap {other} {taken}", block


def _broken_sizes(environment: Environment) -> Iterator[tuple[str, str, object]]:
    for service in ("engine", "market_data", "ledger", "rest", "fix", "deposits", "price_feed"):
        size: FargateSize = getattr(environment, service)
        memory = FARGATE_MEMORY_MIB[size.cpu_units]
        if size.memory_mib not in memory:
            allowed = f"must be {memory[0]} to {memory[-1]} in steps of {memory.step} with {size.cpu_units} cpu_units"
            yield f"{service}.memory_mib", allowed, size.memory_mib
    database = environment.database
    for name, units in (("min", database.capacity_units_min), ("max", database.capacity_units_max)):
        if units * 2 != int(units * 2):
            yield f"database.capacity_units_{name}", "must be a multiple of 0.5", units
    if database.capacity_units_min > database.capacity_units_max:
        allowed = f"must be at most capacity_units_max {database.capacity_units_max}"
        yield "database.capacity_units_min", allowed, database.capacity_units_min


def _broken_counts(environment: Environment) -> Iterator[tuple[str, str, object]]:
    if environment.engine.task_count > 2:  # noqa: PLR2004 - one leader, one standby
        yield "engine.task_count", "must be 1 (leader) or 2 (leader and hot standby)", environment.engine.task_count
    for service in ("market_data", "ledger", "deposits"):
        size: FargateSize = getattr(environment, service)
        if size.task_count != 1:
            yield f"{service}.task_count", "must be 1, since one process writes what it writes", size.task_count
    if environment.rest.task_count >= environment.rest.task_count_max:
        allowed = f"must be less than task_count_max {environment.rest.task_count_max}"
        yield "rest.task_count", allowed, environment.rest.task_count
    websocket = environment.websocket
    if websocket.instance_count_min >= websocket.instance_count_max:
        allowed = f"must be less than instance_count_max {websocket.instance_count_max}"
        yield "websocket.instance_count_min", allowed, websocket.instance_count_min


def samples(value: object, path: str = "") -> dict[str, str]:
    """Return what a deployer still has to fill in: path of each Sample and its placeholder."""
    if isinstance(value, Sample):
        return {path: str(value)}
    found: dict[str, str] = {}
    if isinstance(value, tuple):
        for at, part in enumerate(value):
            found |= samples(part, f"{path}[{at}]")
        return found
    if not is_dataclass(value):
        return {}
    for field in fields(value):
        found |= samples(getattr(value, field.name), f"{path}.{field.name}".removeprefix("."))
    return found


def load_environments(only: str | None = None, *, account: str | None = None) -> tuple[Environment, ...]:
    """Return the checked environments, or only the one called `only`. Raises ConfigError; no other error escapes.

    `account` takes the place of theirs: the embedded AWS has one, for whichever environment it runs.
    """
    try:
        environments: tuple[Environment, ...] = importlib.import_module("config.environments").ENVIRONMENTS
    except ValidationError as error:  # a catalogue entry refuses itself as it is built
        raise ConfigError(f"{_place(error)}: {first_problem(error)}") from None
    except (TypeError, ValueError, NameError, SyntaxError) as error:
        raise ConfigError(f"{_place(error)}: {error}") from None
    chosen = [environment for environment in environments if only in (None, environment.name)]
    if not chosen:
        names = ", ".join(environment.name for environment in environments)
        raise ConfigError(f"ENV: must be one of {names}, was {only!r}")
    found = tuple(checked(environment) for environment in chosen)
    if account is None:
        return found
    single = Accounts.single(Sample(account))
    return tuple(replace(environment, accounts=single) for environment in found)


def _place(error: Exception) -> str:
    """Return the file and line in `config/` where `error` arose."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.parent == ROOT / "config" and path != Path(__file__).resolve():
            return f"config/{path.name}:{frame.lineno}"
    return SOURCE
