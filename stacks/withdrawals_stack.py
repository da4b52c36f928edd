"""How coins leave: requests, approvals, and the state machine from a request to a transaction on its chain."""

import json
from dataclasses import asdict
from datetime import date
from typing import Final

from aws_cdk import aws_iam as iam
from constructs import Construct

from config.model import Environment
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.nag import accept
from exchange_constructs.record_table import RecordTable
from exchange_constructs.signing_table import asker_name, grant_ask
from exchange_constructs.workflow import Workflow
from runtime.shared.business_events import PartnerAnswered
from runtime.withdrawals.flow import FLOW
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.deposits_stack import DepositsStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack
from stacks.onboarding_stack import OnboardingStack

CHAIN: Final = "ethereum"
"""The only one that is signed for."""


class WithdrawalsStack(ExchangeStack):
    """Each function may do one thing: take requests, take approvals, move money, or everything else."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        platform: FunctionPlatform,
        data: DataStack,
        engine: EngineStack,
        deposits: DepositsStack,
        onboarding: OnboardingStack,
    ) -> None:
        """Create them. Only the clerk reaches the wallet account and the nodes, only the teller the engine."""
        super().__init__(scope, construct_id, config=config, description="Withdrawals, from request to transaction")
        self._config, self._platform = config, platform
        self.register = RecordTable(
            self,
            "Register",
            config=config,
            key=foundation.keys.data,
            item_key="id",
            listed_by=("account", "asked_at_s"),
        )
        bus = data.events.bus
        stores = {"WITHDRAWAL_TABLE": self.register.table_name, "EVENT_BUS": bus.event_bus_name}
        clerk = self._function(
            "Clerk",
            "handler.do_step",
            "Checks, has signed and sends",
            {
                **stores,
                "CONFIRMATIONS": json.dumps(config.nodes.confirmations(CHAIN)),
                "HOURLY_COUNT_MAX": str(config.withdrawals.hourly_count_max),
                "LOCK_TABLE": onboarding.locks.name,
                "RULES": json.dumps([asdict(rule) for rule in config.withdrawals.rules]),
            },
            role_name=asker_name(config),
        )
        clerk.function.add_environment("SIGNING_TABLE", grant_ask(clerk.role, config=config, partition=self.partition))
        clerk.function.add_environment("NODE_ADDRESSES", deposits.let_ask_nodes(clerk, CHAIN))
        accept(
            clerk.role.policy,
            f"AwsSolutions-IAM5[Resource::arn:aws:kms:{config.region}:{config.accounts.wallet}:key/*]",
            reason="A key of the wallet account; only by DynamoDB, and for the one table that the condition names",
            expires=date(2027, 11, 20),
            owner="security",
        )
        onboarding.locks.grant_read(clerk.role)
        self.register.grant_calls(clerk.role, "GetItem", "PutItem", "UpdateItem")
        data.events.grant_publish(clerk.role)
        teller = self._function(
            "Teller",
            "handler_teller.do_step",
            "Holds, settles and releases funds in the engine",
            {**stores, "ENGINE_ADDRESS": engine.engine.address, "CATALOGUE_PARAMETER": data.catalogue.name},
        )
        data.catalogue.grant_read(teller.role)
        teller.connections.allow_to_default_port(engine.engine.connections, "moves funds of withdrawals")
        self.register.grant_calls(teller.role, "GetItem", "UpdateItem")
        self.flow = Workflow(
            self,
            "Flow",
            config=config,
            platform=platform,
            definition=FLOW,
            functions={"Clerk": clerk, "Teller": teller},
        )
        self.door = self._function("Door", "handler.apply", "Takes requests", {**stores, "FLOW_ARN": self.flow.arn})
        self.register.grant_calls(self.door.role, "GetItem", "PutItem")
        data.events.grant_publish(self.door.role)
        self.flow.grant_start(self.door.role)
        self.approvals = self._function("Approvals", "handler.approve", "Takes approvers' signatures", stores)
        self.register.grant_calls(self.approvals.role, "GetItem", "UpdateItem")
        self.flow.grant_answer(self.approvals.role)
        self.book = self._function("Book", "handler.add_address", "Adds to address books", stores)
        self.register.grant_calls(self.book.role, "UpdateItem")
        data.events.grant_publish(self.book.role)
        screening = self._function("Screening", "handler.hear", "Notes what screening found of an address", stores)
        self.register.grant_calls(screening.role, "UpdateItem")
        screening.on_event(
            "Answered",
            bus=bus,
            pattern=BusinessEvents.pattern(PartnerAnswered, detail={"partner": ["screening"]}),
        )

    def grant_ask(self, grantee: iam.IGrantable) -> dict[str, str]:
        """Let `grantee` hand in requests and list them, and nothing else; return the variables that tell it where."""
        self.door.grant_call(grantee)
        self.register.grant_list(grantee)
        return {
            "WITHDRAWAL_FUNCTION": self.door.function.function_name,
            "WITHDRAWAL_TABLE": self.register.table_name,
            "WITHDRAWAL_RULES": json.dumps([asdict(rule) for rule in self._config.withdrawals.rules]),
        }

    def _function(
        self,
        name: str,
        handler: str,
        description: str,
        environment: dict[str, str],
        role_name: str | None = None,
    ) -> EventFunction:
        return EventFunction(
            self,
            name,
            config=self._config,
            platform=self._platform,
            service="withdrawals",
            handler=handler,
            description=description,
            environment=environment,
            role_name=role_name,
        )
