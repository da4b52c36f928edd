"""The gateways: REST on Fargate behind a private balancer, WebSocket behind the public one, FIX for partners only."""

from typing import Final

from aws_cdk import aws_route53 as route53
from constructs import Construct

from config.model import Environment
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.ledger_database import READER
from exchange_constructs.log_metric import CUT_OFF, LIMITS_ALONE, LogMetrics
from exchange_constructs.partner_access import PartnerFront
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.process import Process
from exchange_constructs.record_table import RecordTable
from exchange_constructs.rest_front import RestFront
from exchange_constructs.stream_front import StreamFront
from exchange_constructs.web_socket_fleet import WebSocketFleet
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.deposits_stack import DepositsStack
from stacks.edge_store_stack import EdgeStoreStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack
from stacks.market_data_stack import MarketDataStack
from stacks.withdrawals_stack import WithdrawalsStack

REST_PORT: Final = 8080
WEB_SOCKET_PORT: Final = 8081
FIX_PORT: Final = 8083


class GatewayStack(ExchangeStack):
    """One code base, two entry points, and FIX; all hold nothing but connections."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        edge_store: EdgeStoreStack,
        network: PrivateNetwork,
        data: DataStack,
        engine: EngineStack,
        market_data: MarketDataStack,
        deposits: DepositsStack,
        withdrawals: WithdrawalsStack,
    ) -> None:
        """Create both gateways and let them reach engine, market data, database and cache."""
        super().__init__(scope, construct_id, config=config, description="REST, WebSocket and FIX gateways")
        zone = route53.HostedZone.from_hosted_zone_attributes(
            self, "Zone", hosted_zone_id=config.hosted_zone_id, zone_name=config.domain
        )
        upstream = {
            "ENGINE_ADDRESS": engine.engine.address,
            "MARKET_DATA_ADDRESS": market_data.market_data.address,
            "DATABASE_URL": data.database.url(READER),
            "API_KEY_TABLE": data.api_keys.table.table_name,
            "VALKEY_URL": data.cache.url,
            "VALKEY_CACHE": data.cache.name,
        }
        self.rest = FargateService(
            self,
            "Rest",
            config=config,
            size=config.rest,
            process=Process(service="rest", module="runtime.gateway.rest", port=REST_PORT, environment=upstream),
            cluster=engine.cluster,
            namespace=engine.namespace,
            catalogue=data.catalogue,
            logs_key=foundation.keys.logs,
        )
        self.rest.scale_to(config.rest.task_count_max)
        self.web_socket = WebSocketFleet(
            self,
            "WebSocket",
            config=config,
            process=Process(service="ws", module="runtime.gateway.ws", port=WEB_SOCKET_PORT, environment=upstream),
            vpc=network.vpc,
            catalogue=data.catalogue,
            image_pull=engine.cluster.image_pull,
            disk_key=foundation.keys.data,
            logs_key=foundation.keys.logs,
            operators=foundation.operators,
        )
        for upstream_of_rest in (deposits, withdrawals):
            self.rest.add_environment(upstream_of_rest.grant_ask(self.rest.role))
        for gateway in (self.rest, self.web_socket):
            data.api_keys.grant_verify(gateway.role)
            data.database.grant_sign_in(gateway.role, READER)
            data.cache.grant_sign_in(gateway.role)
            gateway.connections.allow_to_default_port(engine.engine.connections, "commands to the engine")
            gateway.connections.allow_to_default_port(market_data.market_data.connections, "public market data")
            gateway.connections.allow_to_default_port(data.database.connections, "history of orders and trades")
            gateway.connections.allow_to_default_port(data.cache.connections, "tickers, rate limits")
        for service, logged in (("rest", self.rest), ("ws", self.web_socket)):
            LogMetrics(
                self,
                f"{service.title()}Metrics",
                log_group=logged.log_group,
                metrics=(CUT_OFF, LIMITS_ALONE),
                of=service,
            )
        self.fix = FargateService(
            self,
            "Fix",
            config=config,
            size=config.fix,
            process=Process(service="fix", module="runtime.fix.main", port=FIX_PORT),
            hands_over=True,
            cluster=engine.cluster,
            namespace=engine.namespace,
            catalogue=data.catalogue,
            logs_key=foundation.keys.logs,
        )
        # Next numbers of each session, for either acceptor to go on with. None is opened yet, so nobody may call it.
        RecordTable(self, "FixSequences", config=config, key=foundation.keys.data, item_key="session")
        self.rest_front = RestFront(
            self,
            "RestFront",
            config=config,
            network=network,
            zone=zone,
            service=self.rest,
            access_logs=foundation.access_logs,
            firewall_logs=edge_store.logs.bucket,
        )
        self.stream_front = StreamFront(
            self,
            "StreamFront",
            config=config,
            vpc=network.vpc,
            zone=zone,
            fleet=self.web_socket,
            port=WEB_SOCKET_PORT,
            access_logs=foundation.access_logs,
        )
        self.web_socket.scale_on_connections(self.stream_front.balancer)
        self.partner_front = PartnerFront(
            self,
            "PartnerFront",
            config=config,
            network=network,
            zone=zone,
            fleet=self.web_socket,
            port=WEB_SOCKET_PORT,
            fix=self.fix,
            access_logs=foundation.access_logs,
            notices=foundation.topics.tickets,
        )
