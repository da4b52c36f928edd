"""Analytics: the lake of trades, its nightly job, and the place to ask; behind switches, what learns from it."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.analyst import Analyst
from exchange_constructs.anomaly_model import ModelEndpoint, ModelTraining
from exchange_constructs.curated_trades import CuratedTrades
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.search_domain import SearchDomain
from exchange_constructs.switch import Switch
from exchange_constructs.time_series_store import TimeSeriesStore
from exchange_constructs.trade_dashboard import TradeDashboard
from exchange_constructs.trade_lake import TradeLake
from exchange_constructs.warehouse import Warehouse
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.foundation_stack import FoundationStack


class AnalyticsStack(ExchangeStack):
    """Reads what others publish; nothing on the order path waits for it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        network: PrivateNetwork,
        data: DataStack,
    ) -> None:
        """Create the lake, and what the switches of `config.analytics` turn on."""
        super().__init__(scope, construct_id, config=config, description="Lake of trades, catalogue, queries")
        key, wanted = foundation.keys.records, config.analytics
        self.lake = TradeLake(
            self,
            "Lake",
            config=config,
            key=key,
            logs_key=foundation.keys.logs,
            access_logs=foundation.access_logs,
            copies=foundation.copies,
            trades=data.trades,
        )
        self.curated = CuratedTrades(
            self,
            "Curated",
            config=config,
            key=key,
            logs_key=foundation.keys.logs,
            messages_key=foundation.keys.messages,
            access_logs=foundation.access_logs,
            copies=foundation.copies,
            topics=foundation.topics,
            lake=self.lake,
        )
        analyst = Analyst(self, "Analyst", key=key, lake=self.lake, curated=self.curated)
        Switch(self, "ReadsByIam", on=not wanted.grants.on).governs(*analyst.by_iam)
        Switch(self, "ReadsByGrants", on=wanted.grants.on).governs(*analyst.by_grants)
        training = ModelTraining(self, "Training", config=config, key=key, lake=self.lake)
        trains = Switch(self, "TrainsModel", on=wanted.model.trains)
        trains.governs(training)
        served = ModelEndpoint(self, "Served", config=config, key=key, network=network, training=training)
        Switch(self, "ServesModel", on=wanted.model.served_version > 0, within=trains).governs(served)
        dashboard = TradeDashboard(self, "Dashboard", config=config, key=key, lake=self.lake)
        Switch(self, "DrawsDashboard", on=wanted.dashboard.on).governs(dashboard)
        warehouse = Warehouse(self, "Warehouse", config=config, key=key, network=network, lake=self.lake)
        Switch(self, "HasWarehouse", on=wanted.warehouse.on).governs(warehouse)
        series = TimeSeriesStore(self, "TimeSeries", config=config, key=foundation.keys.data, network=network)
        Switch(self, "HasTimeSeries", on=wanted.time_series.on).governs(series)
        search = SearchDomain(
            self, "Search", config=config, key=foundation.keys.data, logs_key=foundation.keys.logs, network=network
        )
        Switch(self, "HasSearch", on=wanted.search.on).governs(search)
