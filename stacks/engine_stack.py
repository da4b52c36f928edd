"""The matching engine, and the cluster and private zone that all services share."""

from typing import Final

from aws_cdk import aws_s3 as s3
from aws_cdk import aws_servicediscovery as servicediscovery
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.lease_table import LeaseTable
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.process import NAMESPACE, Process
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.record_copies import RecordCopies
from exchange_constructs.service_cluster import ServiceCluster
from exchange_constructs.snapshot_store import SnapshotStore
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack

GROUP: Final = "main"
"""The one market group there is until markets are split."""
JOURNAL: Final = "journal/"
"""How names in the archive begin; the engine names them so."""


class EngineStack(ExchangeStack):
    """One market group: a leader and, where the environment asks for it, a hot standby in another zone."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        access_logs: s3.IBucket,
        copies: RecordCopies,
        network: PrivateNetwork,
        data: DataStack,
    ) -> None:
        """Create cluster, private zone, snapshot bucket, archive of the journal, lease table and engine."""
        super().__init__(scope, construct_id, config=config, description="Matching engine")
        self.cluster = ServiceCluster(self, "Cluster", config=config, vpc=network.vpc, key=keys.data)
        self.namespace = servicediscovery.PrivateDnsNamespace(
            self, "Namespace", name=NAMESPACE, vpc=network.vpc, description="How services find each other"
        )
        self.snapshots = SnapshotStore(self, "Snapshots", config=config, key=keys.data, access_logs=access_logs)
        self.archive = RecordBucket(
            self,
            "Archive",
            config=config,
            key=keys.records,
            access_logs=access_logs,
            years=config.records.trades_years,
            copied=copies.of(JOURNAL),
        )
        self.leases = LeaseTable(self, "Leases", config=config, key=keys.data)
        self.engine = FargateService(
            self,
            "Engine",
            config=config,
            size=config.engine,
            process=Process(
                service="engine",
                module="runtime.engine.main",
                port=7001,
                environment={
                    "GROUP": GROUP,
                    "JOURNAL_CLUSTER_ARN": data.journal.cluster_arn,
                    "SNAPSHOT_BUCKET": self.snapshots.bucket.bucket_name,
                    "ARCHIVE_BUCKET": self.archive.bucket_name,
                    "LEASE_TABLE": self.leases.table.table_name,
                },
            ),
            hands_over=True,
            cluster=self.cluster,
            namespace=self.namespace,
            catalogue=data.catalogue,
            logs_key=keys.logs,
        )
        data.journal.grant_append_and_read(self.engine.role, group=GROUP)
        self.snapshots.grant_write_and_read(self.engine.role)
        self.archive.grant_add(self.engine.role, prefix=JOURNAL)
        self.archive.grant_read_back(self.engine.role, prefix=JOURNAL)
        self.leases.grant_hold(self.engine.role)
        self.engine.connections.allow_to_default_port(data.journal.connections, "commands to the journal")
