"""Deposits: who watches the chains, which address is whose, and what became of each payment."""

import json
from dataclasses import asdict
from typing import Final

from aws_cdk import Duration, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_servicediscovery as servicediscovery
from constructs import Construct

from config.model import Environment
from config.nodes import ChainConfig
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.log_metric import AGREED_AGE, DISAGREED, REVERSED, LogMetrics
from exchange_constructs.node_service import node_ports
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.process import NAMESPACE, Process
from exchange_constructs.record_table import RecordTable
from exchange_constructs.tiers import APPLICATION
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack

NODES: Final = "nodes"
"""Name of the nodes' balancer in the private zone."""
PORT_FIRST: Final = 7020


class DepositsStack(ExchangeStack):
    """One watcher for each chain. It reads both nodes, and only what they agree on is credited."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
        data: DataStack,
        engine: EngineStack,
    ) -> None:
        """Create the link to the nodes, the tables and the watchers."""
        super().__init__(scope, construct_id, config=config, description="Deposits: watchers of the chains")
        self._config, self._keys, self._data, self._engine = config, keys, data, engine
        self.link = self._link(network.vpc)
        self.addresses = RecordTable(self, "Addresses", config=config, key=keys.records, item_key="address")
        self.deposits = RecordTable(
            self, "Deposits", config=config, key=keys.records, item_key="id", listed_by=("account", "changed_us")
        )
        self.watchers = [self._watcher(chain, PORT_FIRST + number) for number, chain in enumerate(config.nodes.chains)]

    def grant_ask(self, grantee: iam.IGrantable) -> dict[str, str]:
        """Let `grantee` issue addresses and list deposits; return the variables that tell it where.

        An address that is not the account's own by the wallet's public key is never credited, whoever issued it.
        """
        self.addresses.grant_calls(grantee, "PutItem")
        self.deposits.grant_list(grantee)
        chains = [
            {
                "name": chain.name,
                "extended_public_key": str(chain.extended_public_key),
                "assets": [{"name": each.name, "confirmations": each.confirmations} for each in chain.assets],
            }
            for chain in self._config.nodes.chains
        ]
        return {
            "ADDRESS_TABLE": self.addresses.table_name,
            "DEPOSIT_TABLE": self.deposits.table_name,
            "DEPOSIT_CHAINS": json.dumps(chains),
        }

    def let_ask_nodes(self, asker: ec2.IConnectable, chain: str) -> str:
        """Let `asker` reach the nodes of `chain`; return their addresses, host:port with commas between them.

        What may be asked, their sidecars decide: blocks, transactions, fees, and to pass a signed transaction on.
        """
        ports = node_ports(self._config.nodes, chain)
        for each in ports:
            asker.connections.allow_to(self.link, ec2.Port.tcp(each), f"A node of {chain}")
        return ",".join(f"{NODES}.{NAMESPACE}:{each}" for each in ports)

    def _link(self, vpc: ec2.IVpc) -> ec2.InterfaceVpcEndpoint:
        """Return the nodes' balancer as it appears in this network: by an address of ours, and in no other way."""
        group = ec2.SecurityGroup(
            self, "LinkAccess", vpc=vpc, description="The nodes, by PrivateLink", allow_all_outbound=False
        )
        link = ec2.InterfaceVpcEndpoint(
            self,
            "Link",
            vpc=vpc,
            service=ec2.InterfaceVpcEndpointService(str(self._config.nodes.service_name)),
            subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_groups=[group],
            private_dns_enabled=False,
            open=False,
        )
        name = servicediscovery.Service(
            self,
            "Nodes",
            namespace=self._engine.namespace,
            name=NODES,
            dns_record_type=servicediscovery.DnsRecordType.CNAME,
            routing_policy=servicediscovery.RoutingPolicy.WEIGHTED,
            dns_ttl=Duration.minutes(1),
        )
        name.register_cname_instance(
            "Balancer",
            # An entry is a zone's id and the name.
            instance_cname=Fn.select(1, Fn.split(":", Fn.select(0, link.vpc_endpoint_dns_entries))),
        )
        return link

    def _watcher(self, chain: ChainConfig, port: int) -> FargateService:
        keys, data = self._keys, self._data
        watcher = FargateService(
            self,
            chain.name.title(),
            config=self._config,
            size=self._config.deposits,
            process=Process(
                service=f"deposits_{chain.name}",
                module="runtime.chain.main",
                port=port,
                environment={
                    "CHAIN": chain.name,
                    "CHAIN_ASSETS": json.dumps([asdict(asset) for asset in chain.assets]),
                    "EXTENDED_PUBLIC_KEY": str(chain.extended_public_key),
                    "ENGINE_ADDRESS": self._engine.engine.address,
                    "ADDRESS_TABLE": self.addresses.table_name,
                    "DEPOSIT_TABLE": self.deposits.table_name,
                    "EVENT_BUS": data.events.bus.event_bus_name,
                },
            ),
            cluster=self._engine.cluster,
            namespace=self._engine.namespace,
            catalogue=data.catalogue,
            logs_key=keys.logs,
        )
        self.addresses.grant_calls(watcher.role, "BatchGetItem")
        self.deposits.grant_calls(watcher.role, "BatchGetItem", "GetItem", "PutItem")
        data.events.grant_publish(watcher.role)
        watcher.connections.allow_to_default_port(self._engine.engine.connections, "credits deposits")
        watcher.add_environment({"NODE_ADDRESSES": self.let_ask_nodes(watcher, chain.name)})
        LogMetrics(
            self,
            f"{chain.name.title()}Metrics",
            log_group=watcher.log_group,
            metrics=(AGREED_AGE, REVERSED, DISAGREED),
            of=chain.name,
        )
        return watcher
