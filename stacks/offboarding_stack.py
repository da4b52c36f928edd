"""How somebody leaves: closures of accounts, their final statements, the clock of their records, and hand-overs."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from config.model import Environment
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.ledger_database import READER
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.record_table import RecordTable
from exchange_constructs.workflow import Workflow
from runtime.offboarding.flow import FLOW, HAND_OVER_FLOW
from runtime.offboarding.hand_over import PREFIX
from runtime.shared.business_events import DepositCredited
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack
from stacks.withdrawals_stack import WithdrawalsStack


class OffboardingStack(ExchangeStack):
    """Each function may do one thing: take requests, revoke keys, ask the engine, read the ledger, or listen."""

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
        withdrawals: WithdrawalsStack,
    ) -> None:
        """Create them. Only the broker reaches the engine, only the writer the ledger, only the clerk API keys."""
        super().__init__(scope, construct_id, config=config, description="Closures of accounts, hand-overs")
        self._config, self._platform, self._data = config, platform, data
        self.register = RecordTable(self, "Register", config=config, key=foundation.keys.data, item_key="id")
        self.transfer_out = RecordBucket(
            self,
            "TransferOut",
            config=config,
            key=foundation.keys.records,
            access_logs=foundation.access_logs,
            years=config.offboarding.transfer_out_years,
            copied=foundation.copies.of(),
        )
        self.flow = Workflow(
            self,
            "Flow",
            config=config,
            platform=platform,
            definition=FLOW,
            functions={
                "Clerk": self._clerk(withdrawals),
                "Broker": self._broker(engine),
                "Writer": self._writer(),
            },
        )
        self.hand_over = Workflow(
            self,
            "HandOver",
            config=config,
            platform=platform,
            definition=HAND_OVER_FLOW,
            functions={"Exporter": self._exporter()},
        )
        self._doors()
        self._listeners()

    def _clerk(self, withdrawals: WithdrawalsStack) -> EventFunction:
        config = self._config
        clerk = self._function(
            "Clerk",
            "handler.do_step",
            "Revokes keys, asks for withdrawals, closes",
            {
                "API_KEY_TABLE": self._data.api_keys.table.table_name,
                "APPROVERS": ",".join(config.offboarding.approvers),
                "FILES_YEARS": str(config.offboarding.files_years),
                "BOOKS_YEARS": str(config.records.ledger_years),
                "RULES": json.dumps([asdict(rule) for rule in config.withdrawals.rules]),
                "WITHDRAWAL_DOOR": withdrawals.door.function.function_name,
                "WITHDRAWAL_TABLE": withdrawals.register.table_name,
            },
        )
        self.register.grant_calls(clerk.role, "GetItem", "PutItem", "UpdateItem")
        self._data.api_keys.grant_revoke(clerk.role)
        withdrawals.register.grant_calls(clerk.role, "GetItem")
        iam.Grant.add_to_principal(
            grantee=clerk.role,
            actions=["lambda:InvokeFunction"],
            resource_arns=[withdrawals.door.function.function_arn],
        )
        self._data.events.grant_publish(clerk.role)
        return clerk

    def _broker(self, engine: EngineStack) -> EventFunction:
        broker = self._function(
            "Broker",
            "handler_engine.do_step",
            "Cancels orders, looks whether anything is left",
            {
                "ENGINE_ADDRESS": engine.engine.address,
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
                "SETTLE_DAYS_MAX": str(self._config.offboarding.settle_days_max),
            },
        )
        self._data.catalogue.grant_read(broker.role)
        broker.connections.allow_to_default_port(engine.engine.connections, "cancels orders of accounts that leave")
        self.register.grant_calls(broker.role, "GetItem", "UpdateItem")
        return broker

    def _writer(self) -> EventFunction:
        writer = self._function(
            "Writer",
            "handler_ledger.do_step",
            "Writes final statements",
            {
                "DATABASE_URL": self._data.database.proxy_url(READER),
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
                "TRANSFER_BUCKET": self.transfer_out.bucket_name,
            },
            timeout=Duration.minutes(5),
        )
        self._data.database.let_read(writer)
        self._data.catalogue.grant_read(writer.role)
        self.transfer_out.grant_add(writer.role, prefix="final-statement")
        self.register.grant_calls(writer.role, "GetItem", "UpdateItem")
        return writer

    def _exporter(self) -> EventFunction:
        exporter = self._function(
            "Exporter",
            "handler_hand_over.do_step",
            "Writes all accounts for another trader",
            {
                "APPROVERS": ",".join(self._config.offboarding.approvers),
                "DATABASE_URL": self._data.database.proxy_url(READER),
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
                "TRANSFER_BUCKET": self.transfer_out.bucket_name,
            },
            timeout=Duration.minutes(15),
            memory_mib=3008,
        )
        self._data.database.let_read(exporter)
        self._data.catalogue.grant_read(exporter.role)
        self.transfer_out.grant_add(exporter.role, prefix=PREFIX)
        self.register.grant_calls(exporter.role, "GetItem", "UpdateItem")
        self._data.events.grant_publish(exporter.role)
        return exporter

    def _doors(self) -> None:
        """Let customers and operators in by functions of their own: who may call which is for IAM to say."""
        flow = {"FLOW_ARN": self.flow.arn}
        self.door = self._function("Door", "handler.ask_as_customer", "Takes customers' requests to close", flow)
        self.desk = self._function("Desk", "handler.ask_as_operator", "Takes operators' requests to close", flow)
        self.hand_over_desk = self._function(
            "HandOverDesk",
            "handler.ask_hand_over",
            "Takes operators' requests to hand all accounts over",
            {"FLOW_ARN": self.hand_over.arn},
        )
        for door, flow_of in ((self.door, self.flow), (self.desk, self.flow), (self.hand_over_desk, self.hand_over)):
            self.register.grant_calls(door.role, "GetItem", "PutItem")
            flow_of.grant_start(door.role)
        approvers = {"APPROVERS": ",".join(self._config.offboarding.approvers)}
        self.approvals = self._function("Approvals", "handler.approve", "Takes approvers' signatures", approvers)
        self.register.grant_calls(self.approvals.role, "GetItem", "UpdateItem")
        for each in (self.flow, self.hand_over):
            each.grant_answer(self.approvals.role)

    def _listeners(self) -> None:
        ear = self._function("Ear", "handler.hear", "Opens a case for what is credited to a closed account", {})
        self.register.grant_calls(ear.role, "GetItem")
        self._data.events.grant_publish(ear.role)
        ear.on_event("Credited", bus=self._data.events.bus, pattern=BusinessEvents.pattern(DepositCredited))
        clocks = self._function("Clocks", "handler.clocks", "Opens a case where records need not be kept any more", {})
        self.register.grant_calls(clocks.role, "Scan", "UpdateItem")
        self._data.events.grant_publish(clocks.role)
        clocks.on_schedule(
            "Daily", schedule=events.Schedule.cron(hour="20", minute="40"), description="Clocks of records"
        )

    def _function(
        self,
        name: str,
        handler: str,
        description: str,
        environment: Mapping[str, str],
        timeout: Duration | None = None,
        memory_mib: int = 512,
    ) -> EventFunction:
        stores = {
            "OFFBOARDING_TABLE": self.register.table_name,
            "EVENT_BUS": self._data.events.bus.event_bus_name,
        }
        return EventFunction(
            self,
            name,
            config=self._config,
            platform=self._platform,
            service="offboarding",
            handler=handler,
            description=description,
            environment={**stores, **environment},
            timeout=timeout,
            memory_mib=memory_mib,
            concurrency=2,
        )
