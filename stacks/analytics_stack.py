"""Analytics: the lake of trades and the place to ask it."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.trade_lake import TradeLake
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.foundation_stack import FoundationStack


class AnalyticsStack(ExchangeStack):
    """Reads what others publish; nothing on the order path waits for it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, foundation: FoundationStack, data: DataStack
    ) -> None:
        """Create the lake."""
        super().__init__(scope, construct_id, config=config, description="Lake of trades, catalogue, queries")
        self.lake = TradeLake(
            self,
            "Lake",
            config=config,
            key=foundation.keys.records,
            logs_key=foundation.keys.logs,
            access_logs=foundation.access_logs,
            copies=foundation.copies,
            trades=data.trades,
        )
