"""Dev, staging and prod, to be read side by side. Replace every `Sample(...)` before a deployment."""

from typing import Final

from config.markets import CATALOGUE
from config.model import (
    BrokerConfig,
    DatabaseConfig,
    Durability,
    Environment,
    FargateSize,
    NetworkConfig,
    Sample,
    WebSocketConfig,
)

DEV: Final = Environment(
    name="dev",
    account=Sample("123456789012"),
    region="ap-southeast-3",
    web_region="ap-southeast-1",
    edge_region="us-east-1",
    domain=Sample("dev.bursa.example"),
    hosted_zone_id=Sample("Z0DEV00000000000"),
    durability=Durability.DISPOSABLE,
    log_retention_days=30,
    network=NetworkConfig(cidr="10.10.0.0/16", az_count=2),
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
    rest=FargateSize(cpu_units=512, memory_mib=1024, task_count=1),
    websocket=WebSocketConfig(instance_type="c7g.large", instance_count_min=1, instance_count_max=2),
    catalogue=CATALOGUE,
)

STAGING: Final = Environment(
    name="staging",
    account=Sample("222222222222"),
    region="ap-southeast-3",
    web_region="ap-southeast-1",
    edge_region="us-east-1",
    domain=Sample("staging.bursa.example"),
    hosted_zone_id=Sample("Z0STAGING0000000"),
    durability=Durability.DISPOSABLE,
    log_retention_days=90,
    network=NetworkConfig(cidr="10.20.0.0/16", az_count=3),
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
    rest=FargateSize(cpu_units=1024, memory_mib=2048, task_count=2),
    websocket=WebSocketConfig(instance_type="c7g.large", instance_count_min=2, instance_count_max=4),
    catalogue=CATALOGUE,
)

PROD: Final = Environment(
    name="prod",
    account=Sample("333333333333"),
    region="ap-southeast-3",
    web_region="ap-southeast-1",
    edge_region="us-east-1",
    domain=Sample("bursa.example"),
    hosted_zone_id=Sample("Z0PROD0000000000"),
    durability=Durability.RETAINED,
    log_retention_days=1827,
    network=NetworkConfig(cidr="10.30.0.0/16", az_count=3),
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
    rest=FargateSize(cpu_units=2048, memory_mib=4096, task_count=3),
    websocket=WebSocketConfig(instance_type="c7g.xlarge", instance_count_min=3, instance_count_max=12),
    catalogue=CATALOGUE,
)

ENVIRONMENTS: Final = (DEV, STAGING, PROD)
