"""The whole exchange of one environment, in order of deployment: read this first."""

from aws_cdk import Environment as Target
from aws_cdk import Stage
from constructs import Construct

from config.model import Environment
from exchange_constructs.backups import back_up_every_store, need_no_backup
from exchange_constructs.permission_boundary import bound_every_role
from exchange_constructs.stack_alarms import watch_every_stack
from stacks.analytics_stack import AnalyticsStack
from stacks.audit_stack import AuditStack
from stacks.backup_stack import BackupStack
from stacks.business_metrics_stack import BusinessMetricsStack
from stacks.canary_stack import CanaryStack
from stacks.connectors_stack import ConnectorsStack
from stacks.controls_stack import ControlsStack
from stacks.custody_stack import CustodyStack
from stacks.data_stack import DataStack
from stacks.deposits_stack import DepositsStack
from stacks.edge_stack import EdgeStack
from stacks.edge_store_stack import EdgeStoreStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack
from stacks.functions_stack import FunctionsStack
from stacks.gateway_stack import GatewayStack
from stacks.ledger_stack import LedgerStack
from stacks.linked_region_stack import LinkedRegionStack
from stacks.liquidity_stack import LiquidityStack
from stacks.market_data_stack import MarketDataStack
from stacks.migration_stack import MigrationStack
from stacks.network_stack import NetworkStack
from stacks.nodes_stack import NodesStack
from stacks.notifications_stack import NotificationsStack
from stacks.observability_stack import ObservabilityStack
from stacks.offboarding_stack import OffboardingStack
from stacks.onboarding_stack import OnboardingStack
from stacks.partner_stack import PartnerStack
from stacks.price_feed_stack import PriceFeedStack
from stacks.reconciliation_stack import ReconciliationStack
from stacks.reporting_stack import ReportingStack
from stacks.security_stack import SecurityStack
from stacks.surveillance_stack import SurveillanceStack
from stacks.telemetry_stack import TelemetryStack
from stacks.web_stack import WebStack
from stacks.withdrawals_stack import WithdrawalsStack


class ExchangeStage(Stage):
    """Keys, network, stores; then the engine, what follows its events, the gateways, and the edge."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the stacks and hand each what it needs of the ones before."""
        super().__init__(scope, construct_id, env=Target(account=config.account, region=config.region))
        self.audit = AuditStack(self, "Audit", config=config)
        self.foundation = FoundationStack(self, "Foundation", config=config)
        operators = {config.accounts.audit: self.audit.topics, config.account: self.foundation.topics}
        security = [
            SecurityStack(
                self,
                "Security" if part == "core" else f"Security{part.title()}",
                config=config,
                account=account,
                audit=self.audit,
                operators=operators.get(account),
            )
            for part, account in config.accounts.distinct().items()
        ]
        keys = self.foundation.keys
        self.network = NetworkStack(self, "Network", config=config, keys=keys)
        network = self.network.network
        self.data = DataStack(self, "Data", config=config, keys=keys, network=network)
        self.functions = FunctionsStack(
            self, "Functions", config=config, keys=keys, network=network, business_events=self.data.events
        )
        platform = self.functions.platform
        self.engine = EngineStack(
            self,
            "Engine",
            config=config,
            keys=keys,
            access_logs=self.foundation.access_logs,
            copies=self.foundation.copies,
            network=network,
            data=self.data,
        )
        self.telemetry = TelemetryStack(
            self, "Telemetry", config=config, keys=keys, network=network, engine=self.engine
        )
        self.market_data = MarketDataStack(
            self, "MarketData", config=config, keys=keys, data=self.data, engine=self.engine
        )
        self.price_feed = PriceFeedStack(
            self, "PriceFeed", config=config, keys=keys, data=self.data, engine=self.engine
        )
        self.ledger = LedgerStack(
            self, "Ledger", config=config, keys=keys, platform=platform, data=self.data, engine=self.engine
        )
        for followed in (self.market_data.market_data, self.ledger.ledger):
            self.telemetry.let_send(followed)
        self.edge_store = EdgeStoreStack(self, "EdgeStore", config=config, foundation=self.foundation)
        self.onboarding = OnboardingStack(
            self,
            "Onboarding",
            config=config,
            foundation=self.foundation,
            edge_store=self.edge_store,
            platform=platform,
            data=self.data,
            engine=self.engine,
        )
        self.deposits = DepositsStack(
            self, "Deposits", config=config, keys=keys, network=network, data=self.data, engine=self.engine
        )
        self.withdrawals = WithdrawalsStack(
            self,
            "Withdrawals",
            config=config,
            foundation=self.foundation,
            platform=platform,
            data=self.data,
            engine=self.engine,
            deposits=self.deposits,
            onboarding=self.onboarding,
        )
        self.controls = ControlsStack(
            self,
            "Controls",
            config=config,
            foundation=self.foundation,
            platform=platform,
            data=self.data,
            engine=self.engine,
            withdrawals=self.withdrawals,
        )
        self.reconciliation = ReconciliationStack(
            self,
            "Reconciliation",
            config=config,
            platform=platform,
            data=self.data,
            deposits=self.deposits,
            withdrawals=self.withdrawals,
        )
        self.business = BusinessMetricsStack(
            self,
            "BusinessMetrics",
            config=config,
            platform=platform,
            data=self.data,
            engine=self.engine,
            withdrawals=self.withdrawals,
        )
        self.liquidity = LiquidityStack(self, "Liquidity", config=config, foundation=self.foundation, platform=platform)
        self.gateway = GatewayStack(
            self,
            "Gateway",
            config=config,
            foundation=self.foundation,
            edge_store=self.edge_store,
            network=network,
            data=self.data,
            engine=self.engine,
            market_data=self.market_data,
            deposits=self.deposits,
            withdrawals=self.withdrawals,
        )
        self.telemetry.let_send(self.gateway.rest)
        self.connectors = ConnectorsStack(
            self,
            "Connectors",
            config=config,
            platform=platform,
            business_events=self.data.events,
            rest_front=self.gateway.rest_front,
        )
        self.notifications = NotificationsStack(
            self, "Notifications", config=config, platform=platform, business_events=self.data.events
        )
        self.partners = PartnerStack(self, "Partners", config=config, keys=keys, network=network, gateway=self.gateway)
        self.web = WebStack(self, "Web", config=config)
        self.edge = EdgeStack(self, "Edge", config=config, web=self.web, store=self.edge_store, gateway=self.gateway)
        for linked in (self.web, self.edge):
            LinkedRegionStack(self, f"Security{linked.node.id}", config=config, audit=self.audit, beside=linked)
        self.canary = CanaryStack(self, "Canary", config=config, platform=platform)
        self.custody = CustodyStack(self, "Custody", config=config)
        self.nodes = NodesStack(self, "Nodes", config=config)
        self.analytics = AnalyticsStack(
            self, "Analytics", config=config, foundation=self.foundation, network=network, data=self.data
        )
        self.surveillance = SurveillanceStack(
            self, "Surveillance", config=config, foundation=self.foundation, data=self.data, platform=platform
        )
        self.reporting = ReportingStack(
            self,
            "Reporting",
            config=config,
            foundation=self.foundation,
            data=self.data,
            platform=platform,
            surveillance=self.surveillance,
        )
        self.offboarding = OffboardingStack(
            self,
            "Offboarding",
            config=config,
            foundation=self.foundation,
            platform=platform,
            data=self.data,
            engine=self.engine,
            withdrawals=self.withdrawals,
        )
        self.migration = MigrationStack(
            self,
            "Migration",
            config=config,
            foundation=self.foundation,
            network=network,
            platform=platform,
            data=self.data,
        )
        for recorded in (self.foundation, self.edge_store, self.network, self.partners, self.custody, self.nodes):
            recorded.add_dependency(self.audit, "what they record goes to its bucket")
        self.backup = BackupStack(self, "Backup", config=config)
        back_up_every_store(self)
        answers = self.analytics.lake.answers
        need_no_backup(self.audit, self.foundation.access_logs, answers, self.nodes, self.web, self.edge_store)
        bound_every_role(self, config=config)
        alarms = watch_every_stack(
            self,
            config=config,
            topics=(self.audit.topics, *(each.topics for each in security), self.web.topics, self.edge.topics),
        )
        self.observability = ObservabilityStack(self, "Observability", config=config, alarms=alarms)
