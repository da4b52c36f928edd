"""Everything that is stored: database, cache, tables, journal, stream, events, catalogue."""

from aws_cdk import CfnOutput
from constructs import Construct

from config.model import Environment
from exchange_constructs.api_key_table import ApiKeyTable
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.catalogue_parameter import CatalogueParameter
from exchange_constructs.command_journal import CommandJournal
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.ledger_database import READER, LedgerDatabase
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.ticker_cache import TickerCache
from exchange_constructs.trade_stream import TradeStream
from stacks.base_stack import ExchangeStack


class DataStack(ExchangeStack):
    """Deployed before the services, changed rarely, protected from deletion where data is retained."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
    ) -> None:
        """Create every store."""
        super().__init__(
            scope, construct_id, config=config, description="Database, cache, journal, trade stream, events, tables"
        )
        vpc = network.vpc
        self.catalogue = CatalogueParameter(self, "Catalogue", catalogue=config.catalogue)
        self.journal = CommandJournal(self, "Journal", config=config, vpc=vpc, key=keys.data, logs_key=keys.logs)
        self.database = LedgerDatabase(self, "Database", config=config, vpc=vpc, key=keys.data, logs_key=keys.logs)
        self.cache = TickerCache(self, "Cache", config=config, vpc=vpc, key=keys.data)
        self.trades = TradeStream(self, "Trades", config=config, key=keys.records)
        self.events = BusinessEvents(self, "Events", config=config, key=keys.messages, logs_key=keys.logs)
        self.api_keys = ApiKeyTable(self, "ApiKeys", config=config, data_key=keys.data, secrets_key=keys.api_secrets)
        # What the operators' account tool asks for.
        CfnOutput(self, "ApiKeyTable", value=self.api_keys.table.table_name)
        CfnOutput(self, "ApiKeyKmsKey", value=keys.api_secrets.key_arn)
        CfnOutput(self, "DatabaseUrl", value=self.database.url(READER))
