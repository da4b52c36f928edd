"""Nodes of the chains: an account and a network of their own, of which the exchange sees one balancer."""

from datetime import date

from aws_cdk import CfnOutput
from aws_cdk import Environment as Target
from constructs import Construct

from config.model import Environment
from exchange_constructs.chain_node import ChainNode
from exchange_constructs.encryption_keys import AccountKeys
from exchange_constructs.log_copies import LogCopies
from exchange_constructs.nag import HIPAA, NIST, PCI, accept
from exchange_constructs.node_network import NodeNetwork
from exchange_constructs.node_service import NodeService
from exchange_constructs.node_snapshots import NodeSnapshots
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.private_bucket import AccessLogBucket
from exchange_constructs.tiers import APPLICATION
from stacks.base_stack import ExchangeStack


class NodesStack(ExchangeStack):
    """Two nodes for each chain, x86 and Graviton, in different zones: a quorum that no build and no zone takes away."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create keys, network, nodes, and the service by which they are asked."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Nodes of the chains, x86 and Graviton",
            env=Target(account=str(config.accounts.nodes), region=config.region),
        )
        self.keys = AccountKeys(self, "Keys", config=config)
        self.topics = OperatorTopics(self, "Operators", config=config, key=self.keys.messages)
        self.access_logs = AccessLogBucket(self, "AccessLogs", config=config)
        LogCopies(self, "LogCopies", config=config, part="nodes", bucket=self.access_logs)
        accept(
            self.access_logs,
            "AwsSolutions-S1",
            *(f"{pack}-S3BucketLoggingEnabled" for pack in (HIPAA, NIST, PCI)),
            reason="The balancer alone writes here; records of its own access would feed on themselves",
            expires=date(2027, 11, 20),
            owner="security",
        )
        self.network = NodeNetwork(self, "Network", config=config, logs_key=self.keys.logs)
        zones = self.network.vpc.select_subnets(subnet_group_name=APPLICATION).availability_zones
        self.nodes = [
            ChainNode(
                self,
                f"{chain.name.title()}{build.architecture.title().replace('_', '')}",
                config=config,
                chain=chain,
                build=build,
                network=self.network,
                zone=zones[at % len(zones)],
                disk_key=self.keys.data,
                operators=self.topics.tickets,
            )
            for chain in config.nodes.chains
            for at, build in enumerate(chain.builds)
        ]
        self.service = NodeService(
            self,
            "Service",
            config=config,
            vpc=self.network.vpc,
            nodes=self.nodes,
            access_logs=self.access_logs,
        )
        NodeSnapshots(self, "Snapshots", config=config, disks=[node.volume for node in self.nodes], key=self.keys.data)
        # To be entered as nodes.service_name: the account of the exchange cannot look it up.
        CfnOutput(self, "ServiceName", value=self.service.service.vpc_endpoint_service_name)
