"""The trading screen's home outside Indonesia."""

from aws_cdk import CfnOutput
from aws_cdk import Environment as Target
from constructs import Construct

from config.model import Environment
from exchange_constructs.backups import RecoveryCopies
from exchange_constructs.encryption_keys import WebKeys
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.switch import Switch
from exchange_constructs.trading_screen import TradingScreen
from stacks.base_stack import ExchangeStack


class WebStack(ExchangeStack):
    """The built site and nothing else: no customer, no order, no key of a wallet comes here, unless copies do."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create app and bucket in the web region."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Trading screen, static files only",
            env=Target(account=config.account, region=config.web_region),
        )
        keys = WebKeys(self, "Keys", config=config)
        self.screen = TradingScreen(self, "Screen", config=config, key=keys.bundle)
        self.topics = OperatorTopics(self, "Operators", config=config)
        copies = RecoveryCopies(self, "RecoveryCopies", config=config)
        Switch(self, "CopiesAbroad", on=config.backup.copy_abroad).governs(copies)
        # What `scripts.publish_site` asks for.
        CfnOutput(self, "AmplifyApp", value=self.screen.app.attr_app_id)
        CfnOutput(self, "Bundles", value=self.screen.bundles.bucket_name)
