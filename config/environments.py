"""Dev, staging and prod, to be read side by side. Replace every `Sample(...)` before a deployment."""

from typing import Final

from config.analytics import AnalyticsConfig
from config.business import BusinessConfig
from config.checks import Sample
from config.controls import ControlConfig
from config.custody import CustodyConfig, EnclaveImage
from config.images import ImagesConfig
from config.liquidity import LiquidityConfig, QuotePromise
from config.markets import CATALOGUE
from config.migration import CutOverConfig, MigrationConfig
from config.model import (
    BrokerConfig,
    ConnectorsConfig,
    DatabaseConfig,
    Durability,
    Environment,
    FargateSize,
    NetworkConfig,
    OperationsConfig,
    OptionalFargateSize,
    ScaledFargateSize,
    WebSocketConfig,
)
from config.monitoring import MonitoringConfig
from config.nodes import ChainConfig, DepositAsset, NodeBuild, NodesConfig
from config.offboarding import OffboardingConfig
from config.perimeter import (
    Accounts,
    AuditConfig,
    BackupConfig,
    DataCentre,
    EdgeConfig,
    EgressConfig,
    MarketMaker,
    PartnersConfig,
    PeeredNetwork,
)
from config.reconciliation import HeldAddress, ReconciliationConfig
from config.records import Recipient, RecordsConfig
from config.withdrawals import WithdrawalConfig, WithdrawalRule

MAKER_PROMISES: Final = (
    QuotePromise(
        partner="MakerOne",
        symbol="BTCIDR",
        tier="market_maker",
        spread_bips_max=50,
        depth_min=5_000_000_000,
        uptime_percent_min=95,
    ),
)
"""What a contract with a market maker says; shown, and not judged yet."""
PRICE_SOURCES: Final = ("ws-feed.exchange.coinbase.com", "ws.kraken.com", "ws.bitstamp.net")
"""Where the price feed listens."""
REFERENCE_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
"""No venue of the price feed lists a market in rupiah."""
DENIED_COUNTRIES: Final = ("CU", "IR", "KP", "SY")
"""Under comprehensive sanctions; the compliance officer keeps this list."""
PARTNER_APIS: Final = ConnectorsConfig(
    kyc_url=Sample("https://kyc.partner.example/v1/checks"),
    bank_url=Sample("https://bank.partner.example/v1/payouts"),
    screening_url=Sample("https://screening.partner.example/v1/addresses"),
)
"""Partners' APIs; sandboxes in dev and staging once there are any."""
_ETHER: Final = 10**8
"""Units of the ledger."""
WITHDRAWALS: Final = WithdrawalConfig(
    rules=(
        WithdrawalRule(
            asset="ETH",
            chain="ethereum",
            minimum=_ETHER // 100,
            transaction_max=20 * _ETHER,
            day_max=50 * _ETHER,
            hour_max=200 * _ETHER,
            approval_above=_ETHER,
            travel_rule_from=_ETHER // 4,
            cooldown_s=24 * 3600,
            fee=_ETHER // 1000,
        ),
    ),
    hourly_count_max=150,
)
RECONCILIATION: Final = ReconciliationConfig(
    wallets=(
        HeldAddress(name="hot-1", address=Sample("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")),
        HeldAddress(name="cold-1", address=Sample("0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359")),
    ),
    every_minutes=15,
    hot_bips_max=3_000,
    cold_bips_min=5_001,
)
"""The samples are examples of EIP-55."""
OFFBOARDING_APPROVERS: Final = (
    Sample("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
    Sample("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
    Sample("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"),
)
"""Who may let an operator close an account. The samples are test vectors of RFC 8032, whose private keys all know."""
CONTROLS: Final = ControlConfig(
    approvers=(
        Sample("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        Sample("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
        Sample("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"),
    ),
    # Books of another moment than the chain's may be apart for an hour and all be well: a person decides about those.
    halting_cases=("ledger-sum", "reserve-short"),
)
"""Who may open markets and move limits. The samples are those test vectors as well."""
WALLET_XPUB: Final = Sample(
    "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw"
)
"""Of the hot wallet, for deposit addresses; the sample is a published test vector, whose private key everyone knows."""
TETHER: Final = "0xdAC17F958D2ee523a2206206994597C13D831ec7"
"""USDT on Ethereum."""
TEST_TOKEN: Final = Sample("0x7070707070707070707070707070707070707070")
"""What stands for it on a test network."""
PROGRAM_DIGEST: Final = Sample("0000000000000000000000000000000000000000000000000000000000000000")
"""SHA-256 of a node's program, from a signed release, one for each program and architecture."""
PYTHON: Final = Sample(f"public.ecr.aws/docker/library/python:3.13-slim-bookworm@sha256:{'0' * 64}")

COLLECTOR: Final = Sample(f"public.ecr.aws/aws-observability/aws-otel-collector@sha256:{'0' * 64}")

STANDARDS: Final = ("aws-foundational-security-best-practices", "cis-aws-foundations-benchmark", "pci-dss")

DEV: Final = Environment(
    name="dev",
    accounts=Accounts.single(Sample("123456789012")),
    region="ap-southeast-3",
    web_region="ap-southeast-1",
    edge_region="us-east-1",
    domain=Sample("dev.bursa.example"),
    hosted_zone_id=Sample("Z0DEV00000000000"),
    mail_verified=False,
    durability=Durability.DISPOSABLE,
    log_retention_days=30,
    network=NetworkConfig(cidr="10.10.0.0/16", az_count=2, endpoint_zone_count=1),
    egress=EgressConfig(zone_count=1, domains=PRICE_SOURCES),
    edge=EdgeConfig(
        origin_facing=Sample("pl-00000000"),
        denied_countries=DENIED_COUNTRIES,
        requests_per_address=10_000,
        sign_in_requests_per_address=500,
        dnssec=False,
        shield_advanced=False,
        monthly_budget_usd=4_000,
    ),
    partners=PartnersConfig(
        market_makers=(),
        peered=(),
        data_centres=(),
        dmz_cidr="10.11.0.0/22",
        amazon_asn=64_512,
        line_asn=64_612,
    ),
    audit=AuditConfig(
        lock_mode="GOVERNANCE",
        retention_days=30,
        standards=STANDARDS,
    ),
    backup=BackupConfig(
        daily_kept_days=7,
        monthly_kept_days=90,
        locked=False,
        copy_abroad=False,
        restore_test_days=30,
    ),
    withdrawals=WITHDRAWALS,
    reconciliation=RECONCILIATION,
    business=BusinessConfig(spread_bips_max=200, trades_minute_min=0),
    liquidity=LiquidityConfig(promises=()),
    offboarding=OffboardingConfig(
        approvers=OFFBOARDING_APPROVERS,
        settle_days_max=7,
        files_years=1,
        transfer_out_years=1,
    ),
    controls=CONTROLS,
    analytics=AnalyticsConfig(),
    migration=MigrationConfig(
        landing_days=30,
        copies_database=False,
        copy_units_max=2,
        cut_over=CutOverConfig(predecessor=(), weight=255, frozen=False, rollback_hours=24),
    ),
    custody=CustodyConfig(
        cidr="10.12.0.0/24",
        instance_type="m7g.xlarge",
        machine_image=Sample("ami-00000000000000000"),
        instance_count_min=1,
        instance_count_max=2,
        images=(
            EnclaveImage(
                architecture="x86_64",
                pcr0=Sample(
                    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
                ),
            ),
            EnclaveImage(
                architecture="arm64",
                pcr0=Sample(
                    "222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222"
                ),
            ),
        ),
        signing_certificate_pcr8=Sample(
            "888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888"
        ),
        administrator_role=Sample("arn:aws:iam::123456789012:role/WalletAdministrator"),
        break_glass_role=Sample("arn:aws:iam::123456789012:role/bursa-break-glass"),
    ),
    nodes=NodesConfig(
        cidr="10.13.0.0/24",
        nat_zone_count=1,
        service_name=Sample("com.amazonaws.vpce.ap-southeast-3.vpce-svc-00000000000000000"),
        snapshots_kept_days=7,
        chains=(
            ChainConfig(
                name="ethereum",
                network=Sample("31337"),
                genesis=Sample("0x51e7e2b83998a373d01d53877c3ddefb929f1b00012e2a2c9e6721d4f28ad75f"),
                data_gib=256,
                iops=3000,
                throughput_mib=250,
                builds=(
                    NodeBuild(
                        architecture="x86_64",
                        instance_type="r7i.xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST, PROGRAM_DIGEST),
                    ),
                    NodeBuild(
                        architecture="arm64",
                        instance_type="r7g.xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST, PROGRAM_DIGEST),
                    ),
                ),
                assets=(
                    DepositAsset(name="ETH", decimals=18, confirmations=3),
                    DepositAsset(
                        name="USDT",
                        decimals=6,
                        confirmations=3,
                        contract=TEST_TOKEN,
                    ),
                ),
                extended_public_key=WALLET_XPUB,
            ),
        ),
    ),
    database=DatabaseConfig(
        capacity_units_min=0.5,
        capacity_units_max=4,
        reader_count=1,
        backup_retention_days=7,
    ),
    journal_brokers=None,
    trade_stream_retention_hours=24,
    engine=FargateSize(cpu_units=1024, memory_mib=4096, task_count=1),
    market_data=FargateSize(cpu_units=512, memory_mib=1024, task_count=1),
    ledger=FargateSize(cpu_units=512, memory_mib=1024, task_count=1),
    deposits=FargateSize(cpu_units=256, memory_mib=512, task_count=1),
    price_feed=FargateSize(cpu_units=256, memory_mib=512, task_count=1),
    reference_symbols=REFERENCE_SYMBOLS,
    canary_symbol="ETHIDR",
    rest=ScaledFargateSize(cpu_units=512, memory_mib=1024, task_count=1, task_count_max=2),
    fix=OptionalFargateSize(cpu_units=256, memory_mib=512, task_count=0),
    websocket=WebSocketConfig(instance_type="c7g.large", instance_count_min=1, instance_count_max=2),
    images=ImagesConfig(base=PYTHON, collector=COLLECTOR),
    monitoring=MonitoringConfig(),
    records=RecordsConfig(
        lock_mode="GOVERNANCE",
        ledger_years=1,
        reports_years=1,
        evidence_years=1,
        trades_years=1,
        price_months=6,
        query_gib_max=10,
        regulator_account=Sample("444444444441"),
        bourse=Recipient(
            account=Sample("555555555551"),
            external_id=Sample("bourse-of-dev-0000"),
            reports=("trades",),
            deliver_within_hours=24,
        ),
        clearing=Recipient(
            account=Sample("666666666661"),
            external_id=Sample("clearing-of-dev-0000"),
            reports=("trades", "tax"),
            deliver_within_hours=24,
        ),
    ),
    operations=OperationsConfig(
        runbooks_url=Sample("https://code.bursa.example/bursa/docs/runbooks"),
        pager_url=Sample("https://pager.bursa.example/sns/dev"),
        ticket_email=Sample("operations-dev@bursa.example"),
    ),
    connectors=PARTNER_APIS,
    catalogue=CATALOGUE,
)

STAGING: Final = Environment(
    name="staging",
    accounts=Accounts(
        core=Sample("222222222222"),
        wallet=Sample("222222222221"),
        nodes=Sample("222222222225"),
        audit=Sample("222222222227"),
    ),
    region="ap-southeast-3",
    web_region="ap-southeast-1",
    edge_region="us-east-1",
    domain=Sample("staging.bursa.example"),
    hosted_zone_id=Sample("Z0STAGING0000000"),
    mail_verified=False,
    durability=Durability.DISPOSABLE,
    log_retention_days=90,
    network=NetworkConfig(cidr="10.20.0.0/16", az_count=3, endpoint_zone_count=2),
    egress=EgressConfig(zone_count=1, domains=PRICE_SOURCES),
    edge=EdgeConfig(
        origin_facing=Sample("pl-00000000"),
        denied_countries=DENIED_COUNTRIES,
        requests_per_address=10_000,
        sign_in_requests_per_address=500,
        dnssec=False,
        shield_advanced=False,
        monthly_budget_usd=8_000,
    ),
    partners=PartnersConfig(
        market_makers=(MarketMaker(name="MakerOne", account=Sample("444444444444")),),
        peered=(
            PeeredNetwork(
                name="MakerTwo",
                account=Sample("666666666666"),
                vpc_id=Sample("vpc-0123456789abcdef0"),
                cidr="10.120.0.0/24",
            ),
        ),
        data_centres=(
            DataCentre(
                name="SettlementBank",
                vpn_address=Sample("198.51.100.20"),
                asn=65_010,
                cidr="10.121.0.0/24",
            ),
        ),
        dmz_cidr="10.21.0.0/22",
        amazon_asn=64_513,
        line_asn=64_613,
    ),
    audit=AuditConfig(
        lock_mode="GOVERNANCE",
        retention_days=90,
        standards=STANDARDS,
    ),
    backup=BackupConfig(
        daily_kept_days=14,
        monthly_kept_days=90,
        locked=False,
        copy_abroad=False,
        restore_test_days=30,
    ),
    withdrawals=WITHDRAWALS,
    reconciliation=RECONCILIATION,
    business=BusinessConfig(spread_bips_max=100, trades_minute_min=0),
    liquidity=LiquidityConfig(promises=()),
    offboarding=OffboardingConfig(
        approvers=OFFBOARDING_APPROVERS,
        settle_days_max=30,
        files_years=1,
        transfer_out_years=1,
    ),
    controls=CONTROLS,
    analytics=AnalyticsConfig(),
    migration=MigrationConfig(
        landing_days=30,
        copies_database=False,
        copy_units_max=4,
        cut_over=CutOverConfig(predecessor=(), weight=255, frozen=False, rollback_hours=24),
    ),
    custody=CustodyConfig(
        cidr="10.22.0.0/24",
        instance_type="m7g.xlarge",
        machine_image=Sample("ami-00000000000000000"),
        instance_count_min=2,
        instance_count_max=4,
        images=(
            EnclaveImage(
                architecture="x86_64",
                pcr0=Sample(
                    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
                ),
            ),
            EnclaveImage(
                architecture="arm64",
                pcr0=Sample(
                    "222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222"
                ),
            ),
        ),
        signing_certificate_pcr8=Sample(
            "888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888"
        ),
        administrator_role=Sample("arn:aws:iam::222222222221:role/WalletAdministrator"),
        break_glass_role=Sample("arn:aws:iam::222222222221:role/bursa-break-glass"),
    ),
    nodes=NodesConfig(
        cidr="10.23.0.0/24",
        nat_zone_count=1,
        service_name=Sample("com.amazonaws.vpce.ap-southeast-3.vpce-svc-00000000000000000"),
        snapshots_kept_days=7,
        chains=(
            ChainConfig(
                name="ethereum",
                network="11155111",
                genesis="0x25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9",
                data_gib=1024,
                iops=3000,
                throughput_mib=250,
                builds=(
                    NodeBuild(
                        architecture="x86_64",
                        instance_type="r7i.xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST, PROGRAM_DIGEST),
                    ),
                    NodeBuild(
                        architecture="arm64",
                        instance_type="r7g.xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST, PROGRAM_DIGEST),
                    ),
                ),
                assets=(
                    DepositAsset(name="ETH", decimals=18, confirmations=64),
                    DepositAsset(
                        name="USDT",
                        decimals=6,
                        confirmations=64,
                        contract=TEST_TOKEN,
                    ),
                ),
                extended_public_key=WALLET_XPUB,
            ),
            ChainConfig(
                name="bitcoin",
                network="test",
                genesis="000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
                data_gib=200,
                iops=3000,
                throughput_mib=250,
                builds=(
                    NodeBuild(
                        architecture="x86_64",
                        instance_type="r7i.xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST,),
                    ),
                    NodeBuild(
                        architecture="arm64",
                        instance_type="r7g.xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST,),
                    ),
                ),
                assets=(DepositAsset(name="BTC", decimals=8, confirmations=3),),
                seeds=(
                    "seed.tbtc.petertodd.net",
                    "seed.testnet.bitcoin.sprovoost.nl",
                    "testnet-seed.bitcoin.jonasschnelli.ch",
                    "testnet-seed.bluematt.me",
                ),
                extended_public_key=WALLET_XPUB,
            ),
        ),
    ),
    database=DatabaseConfig(
        capacity_units_min=1,
        capacity_units_max=8,
        reader_count=1,
        backup_retention_days=14,
    ),
    journal_brokers=BrokerConfig(instance_type="kafka.m5.large", count_per_zone=1, storage_gib=100),
    trade_stream_retention_hours=48,
    engine=FargateSize(cpu_units=2048, memory_mib=8192, task_count=2),
    market_data=FargateSize(cpu_units=1024, memory_mib=2048, task_count=1),
    ledger=FargateSize(cpu_units=1024, memory_mib=2048, task_count=1),
    deposits=FargateSize(cpu_units=256, memory_mib=512, task_count=1),
    price_feed=FargateSize(cpu_units=256, memory_mib=512, task_count=1),
    reference_symbols=REFERENCE_SYMBOLS,
    canary_symbol="ETHIDR",
    rest=ScaledFargateSize(cpu_units=1024, memory_mib=2048, task_count=2, task_count_max=6),
    fix=OptionalFargateSize(cpu_units=256, memory_mib=512, task_count=2),
    websocket=WebSocketConfig(instance_type="c7g.large", instance_count_min=2, instance_count_max=4),
    images=ImagesConfig(base=PYTHON, collector=COLLECTOR),
    monitoring=MonitoringConfig(),
    records=RecordsConfig(
        lock_mode="GOVERNANCE",
        ledger_years=1,
        reports_years=1,
        evidence_years=1,
        trades_years=1,
        price_months=6,
        query_gib_max=100,
        regulator_account=Sample("444444444442"),
        bourse=Recipient(
            account=Sample("555555555552"),
            external_id=Sample("bourse-of-staging-0000"),
            reports=("trades",),
            deliver_within_hours=24,
        ),
        clearing=Recipient(
            account=Sample("666666666662"),
            external_id=Sample("clearing-of-staging-0000"),
            reports=("trades", "tax"),
            deliver_within_hours=24,
        ),
    ),
    operations=OperationsConfig(
        runbooks_url=Sample("https://code.bursa.example/bursa/docs/runbooks"),
        pager_url=Sample("https://pager.bursa.example/sns/staging"),
        ticket_email=Sample("operations-staging@bursa.example"),
    ),
    connectors=PARTNER_APIS,
    catalogue=CATALOGUE,
)

PROD: Final = Environment(
    name="prod",
    accounts=Accounts(
        core=Sample("333333333333"),
        wallet=Sample("333333333331"),
        nodes=Sample("333333333335"),
        audit=Sample("333333333337"),
    ),
    region="ap-southeast-3",
    web_region="ap-southeast-1",
    edge_region="us-east-1",
    domain=Sample("bursa.example"),
    hosted_zone_id=Sample("Z0PROD0000000000"),
    mail_verified=False,
    durability=Durability.RETAINED,
    log_retention_days=1827,
    network=NetworkConfig(cidr="10.30.0.0/16", az_count=3, endpoint_zone_count=3),
    egress=EgressConfig(zone_count=2, domains=PRICE_SOURCES),
    edge=EdgeConfig(
        origin_facing=Sample("pl-00000000"),
        denied_countries=DENIED_COUNTRIES,
        requests_per_address=30_000,
        sign_in_requests_per_address=1_000,
        dnssec=True,
        shield_advanced=True,
        monthly_budget_usd=25_000,
    ),
    partners=PartnersConfig(
        market_makers=(MarketMaker(name="MakerOne", account=Sample("555555555555")),),
        peered=(
            PeeredNetwork(
                name="MakerTwo",
                account=Sample("777777777777"),
                vpc_id=Sample("vpc-0123456789abcdef0"),
                cidr="10.130.0.0/24",
            ),
        ),
        data_centres=(
            DataCentre(
                name="SettlementBank",
                vpn_address=Sample("198.51.100.30"),
                asn=65_010,
                cidr="10.131.0.0/24",
            ),
        ),
        dmz_cidr="10.31.0.0/22",
        amazon_asn=64_514,
        line_asn=64_614,
    ),
    audit=AuditConfig(
        lock_mode="COMPLIANCE",
        retention_days=1827,
        standards=STANDARDS,
    ),
    backup=BackupConfig(
        daily_kept_days=35,
        monthly_kept_days=3650,
        locked=True,
        copy_abroad=False,
        restore_test_days=7,
    ),
    withdrawals=WITHDRAWALS,
    reconciliation=RECONCILIATION,
    business=BusinessConfig(spread_bips_max=100, trades_minute_min=1),
    liquidity=LiquidityConfig(promises=MAKER_PROMISES),
    offboarding=OffboardingConfig(
        approvers=OFFBOARDING_APPROVERS,
        settle_days_max=90,
        files_years=5,
        transfer_out_years=10,
    ),
    controls=CONTROLS,
    analytics=AnalyticsConfig(),
    migration=MigrationConfig(
        landing_days=90,
        copies_database=False,
        copy_units_max=16,
        cut_over=CutOverConfig(predecessor=(), weight=255, frozen=False, rollback_hours=72),
    ),
    custody=CustodyConfig(
        cidr="10.32.0.0/24",
        instance_type="m7g.xlarge",
        machine_image=Sample("ami-00000000000000000"),
        instance_count_min=2,
        instance_count_max=6,
        images=(
            EnclaveImage(
                architecture="x86_64",
                pcr0=Sample(
                    "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
                ),
            ),
            EnclaveImage(
                architecture="arm64",
                pcr0=Sample(
                    "222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222222"
                ),
            ),
        ),
        signing_certificate_pcr8=Sample(
            "888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888888"
        ),
        administrator_role=Sample("arn:aws:iam::333333333331:role/WalletAdministrator"),
        break_glass_role=Sample("arn:aws:iam::333333333331:role/bursa-break-glass"),
    ),
    nodes=NodesConfig(
        cidr="10.33.0.0/24",
        nat_zone_count=3,
        service_name=Sample("com.amazonaws.vpce.ap-southeast-3.vpce-svc-00000000000000000"),
        snapshots_kept_days=14,
        chains=(
            ChainConfig(
                name="ethereum",
                network="1",
                genesis="0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
                data_gib=2560,
                iops=8000,
                throughput_mib=700,
                builds=(
                    NodeBuild(
                        architecture="x86_64",
                        instance_type="r7i.2xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST, PROGRAM_DIGEST),
                    ),
                    NodeBuild(
                        architecture="arm64",
                        instance_type="r7g.2xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST, PROGRAM_DIGEST),
                    ),
                ),
                assets=(
                    DepositAsset(name="ETH", decimals=18, confirmations=64),
                    DepositAsset(name="USDT", decimals=6, confirmations=64, contract=TETHER),
                ),
                extended_public_key=WALLET_XPUB,
            ),
            ChainConfig(
                name="bitcoin",
                network="main",
                genesis="000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
                data_gib=1500,
                iops=6000,
                throughput_mib=400,
                builds=(
                    NodeBuild(
                        architecture="x86_64",
                        instance_type="r7i.2xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST,),
                    ),
                    NodeBuild(
                        architecture="arm64",
                        instance_type="r8g.2xlarge",
                        machine_image=Sample("ami-00000000000000000"),
                        digests=(PROGRAM_DIGEST,),
                    ),
                ),
                assets=(DepositAsset(name="BTC", decimals=8, confirmations=6),),
                seeds=(
                    "dnsseed.bluematt.me",
                    "dnsseed.emzy.de",
                    "seed.bitcoin.jonasschnelli.ch",
                    "seed.bitcoin.sipa.be",
                    "seed.bitcoin.sprovoost.nl",
                    "seed.bitcoin.wiz.biz",
                    "seed.btc.petertodd.net",
                ),
                extended_public_key=WALLET_XPUB,
            ),
        ),
    ),
    database=DatabaseConfig(
        capacity_units_min=4,
        capacity_units_max=64,
        reader_count=2,
        backup_retention_days=35,
    ),
    journal_brokers=BrokerConfig(instance_type="kafka.m5.xlarge", count_per_zone=1, storage_gib=1000),
    trade_stream_retention_hours=168,
    engine=FargateSize(cpu_units=4096, memory_mib=16_384, task_count=2),
    market_data=FargateSize(cpu_units=2048, memory_mib=8192, task_count=1),
    ledger=FargateSize(cpu_units=2048, memory_mib=4096, task_count=1),
    deposits=FargateSize(cpu_units=256, memory_mib=512, task_count=1),
    price_feed=FargateSize(cpu_units=256, memory_mib=512, task_count=1),
    reference_symbols=REFERENCE_SYMBOLS,
    canary_symbol="ETHIDR",
    rest=ScaledFargateSize(cpu_units=2048, memory_mib=4096, task_count=3, task_count_max=12),
    fix=OptionalFargateSize(cpu_units=256, memory_mib=512, task_count=2),
    websocket=WebSocketConfig(instance_type="c7g.xlarge", instance_count_min=3, instance_count_max=12),
    images=ImagesConfig(base=PYTHON, collector=COLLECTOR),
    monitoring=MonitoringConfig(),
    records=RecordsConfig(
        lock_mode="COMPLIANCE",
        ledger_years=10,
        reports_years=10,
        evidence_years=10,
        trades_years=10,
        price_months=24,
        query_gib_max=1_000,
        regulator_account=Sample("444444444443"),
        bourse=Recipient(
            account=Sample("555555555553"),
            external_id=Sample("bourse-of-prod-0000"),
            reports=("trades",),
            deliver_within_hours=24,
        ),
        clearing=Recipient(
            account=Sample("666666666663"),
            external_id=Sample("clearing-of-prod-0000"),
            reports=("trades", "tax"),
            deliver_within_hours=24,
        ),
    ),
    operations=OperationsConfig(
        runbooks_url=Sample("https://code.bursa.example/bursa/docs/runbooks"),
        pager_url=Sample("https://pager.bursa.example/sns/prod"),
        ticket_email=Sample("operations-prod@bursa.example"),
    ),
    connectors=PARTNER_APIS,
    catalogue=CATALOGUE,
)

ENVIRONMENTS: Final = (DEV, STAGING, PROD)
