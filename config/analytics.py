"""What is added for a scale or a subscription that not everybody has: each is off until it is turned on here."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from config.checks import Checked, between, matching

JOB_CONNECTORS: Final = ".build/flink/connectors.jar"
"""Where an operator puts the connectors of Flink, and its libraries beside them; see docs/deploy.md."""
RPU_STEP: Final = 8
"""Redshift Serverless is sized in steps of so many processing units."""
WAREHOUSE_ZONES: Final = 3
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""
TrainingHost = Annotated[
    str, matching(r"ml\.[cm][5-7][a-z]*\.\d*x?large", "a SageMaker type of family c5 to m7i, such as ml.m5.large")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamJobConfig(Checked):
    """Surveillance as a Flink job, beside the function that runs the same detectors."""

    on: bool = False
    parallelism: Annotated[int, between(1, 64)] = 1
    """Workers among which markets are divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(Checked):
    """Training of the anomaly model by SageMaker, and the endpoint that serves one version of it.

    The endpoint needs what training has made, so it is not on without it.
    """

    trains: bool = False
    host: TrainingHost = "ml.m5.large"
    served_version: Annotated[int, between(0, 100_000)] = 0
    """Version in the registry whose scores count; 0 is none, and the function scores by the baseline itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardConfig(Checked):
    """QuickSight: needs a subscription of the account."""

    on: bool = False
    readers: Annotated[str, matching(r"[A-Za-z0-9_-]{1,64}", "the name of a QuickSight group")] = "analysts"
    """Group of the default namespace that may look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsConfig(Checked):
    """Lake Formation decides what analysts read: needs administrators of it in the account; see docs/deploy.md."""

    on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WarehouseConfig(Checked):
    """Redshift Serverless."""

    on: bool = False
    base_units: Annotated[int, between(8, 512)] = 8
    """Processing units (RPU) that a query starts with, in steps of RPU_STEP."""
    units_max: Annotated[int, between(8, 5632)] = 64
    """What a question may grow to; likewise in steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeriesConfig(Checked):
    """Timestream for InfluxDB."""

    on: bool = False
    size: Literal["medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge"] = "medium"
    storage_gib: Annotated[int, between(20, 16_384)] = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig(Checked):
    """An OpenSearch domain: three managers, and data nodes in every zone."""

    on: bool = False
    host: Annotated[
        str, matching(r"[cmr][678]g\.\d*x?large\.search", "a Graviton type for search, such as m7g.large.search")
    ] = "m7g.large.search"
    nodes_per_zone: Annotated[int, between(1, 26)] = 1
    """Data nodes in each zone."""
    volume_gib: Annotated[int, between(10, 3072)] = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsConfig(Checked):
    """Every switch of analytics."""

    stream_job: StreamJobConfig = field(default_factory=StreamJobConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    dashboard: DashboardConfig = field(default_factory=DashboardConfig)
    grants: GrantsConfig = field(default_factory=GrantsConfig)
    warehouse: WarehouseConfig = field(default_factory=WarehouseConfig)
    time_series: TimeSeriesConfig = field(default_factory=TimeSeriesConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def problems(self, zones: int) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say, in a network of so many zones."""
        warehouse = self.warehouse
        for name in ("base_units", "units_max"):
            if getattr(warehouse, name) % RPU_STEP:
                yield f"analytics.warehouse.{name}", f"must be a multiple of {RPU_STEP}", getattr(warehouse, name)
        if warehouse.units_max < warehouse.base_units:
            allowed = f"must be at least base_units, {warehouse.base_units}"
            yield "analytics.warehouse.units_max", allowed, warehouse.units_max
        if warehouse.on and zones < WAREHOUSE_ZONES:
            allowed = f"must be False in a network of {zones} zones: Redshift Serverless needs {WAREHOUSE_ZONES}"
            yield "analytics.warehouse.on", allowed, warehouse.on
        if self.model.served_version and not self.model.trains:
            allowed = "must be 0 while analytics.model.trains is False: nothing registers a version"
            yield "analytics.model.served_version", allowed, self.model.served_version
