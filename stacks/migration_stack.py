"""Moving an exchange that exists: where its files land, what checks them, and a copy of its database."""

from aws_cdk import Duration
from constructs import Construct

from config.model import Environment
from exchange_constructs.database_copy import DatabaseCopy
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.landing_bucket import INCOMING, LandingBucket
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.record_table import RecordTable
from exchange_constructs.switch import Switch
from exchange_constructs.upload_scan import UploadScan
from exchange_constructs.workflow import Workflow
from runtime.migration.flow import FLOW
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.foundation_stack import FoundationStack


class MigrationStack(ExchangeStack):
    """Reads what is handed over and says what differs; nothing in it can write to the engine or the ledger."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        network: PrivateNetwork,
        platform: FunctionPlatform,
        data: DataStack,
    ) -> None:
        """Create bucket, index of runs, state machine, and the switch of the copy."""
        super().__init__(scope, construct_id, config=config, description="Import from the predecessor, cut-over")
        self.landing = LandingBucket(
            self,
            "Landing",
            config=config,
            key=foundation.keys.data,
            access_logs=foundation.access_logs,
        )
        UploadScan(self, "LandingScan", bucket=self.landing, key=foundation.keys.data, prefixes=(INCOMING,))
        self.runs = RecordTable(self, "Runs", config=config, key=foundation.keys.data, item_key="id")
        importer = EventFunction(
            self,
            "Importer",
            config=config,
            platform=platform,
            service="migration",
            handler="handler.dry_run",
            description="Checks files of the predecessor, posts nothing",
            environment={
                "CATALOGUE_PARAMETER": data.catalogue.name,
                "LANDING_BUCKET": self.landing.bucket_name,
                "RUN_TABLE": self.runs.table_name,
            },
            timeout=Duration.minutes(15),
            memory_mib=3008,
            concurrency=1,
        )
        data.catalogue.grant_read(importer.role)
        self.landing.grant_check(importer.role)
        self.runs.grant_calls(importer.role, "UpdateItem")
        self.flow = Workflow(
            self, "Flow", config=config, platform=platform, definition=FLOW, functions={"Importer": importer}
        )
        copy = DatabaseCopy(
            self, "DatabaseCopy", config=config, network=network, database=data.database, key=foundation.keys.data
        )
        Switch(self, "CopiesDatabase", on=config.migration.copies_database).governs(copy)
