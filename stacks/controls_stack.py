"""Market controls: halts that one operator makes alone, openings and limits that two more sign, and who sees to it."""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_events as events
from constructs import Construct

from config.model import Environment
from exchange_constructs.account_role import AccountRole
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.log_metric import CONTROLS_AMISS, LogMetrics
from exchange_constructs.record_table import RecordTable
from runtime.controls.rules import HALTED, WITHDRAWALS
from runtime.shared.business_events import CaseOpened
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack
from stacks.withdrawals_stack import WithdrawalsStack


class ControlsStack(ExchangeStack):
    """A function for each duty, and a role for each who may call one."""

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
        """Create them. The brake cannot open or write limits, whatever it is told: its role has no such call."""
        super().__init__(scope, construct_id, config=config, description="Halts, limits and who approves them")
        self._config, self._platform, self._data = config, platform, data
        self._engine, self._withdrawals = engine, withdrawals
        self.register = RecordTable(self, "Register", config=config, key=foundation.keys.data, item_key="id")
        self.brake = self._function("Brake", "brake", "Does at once what makes things safer", concurrency=5)
        self.register.grant_calls(self.brake.role, "GetItem", "PutItem", "UpdateItem")
        self._let_tell(self.brake, "GetItem", "PutItem")
        self.ask = self._function("Ask", "ask", "Takes what others must approve", concurrency=5)
        self.register.grant_calls(self.ask.role, "GetItem", "PutItem")
        # One at a time: Systems Manager has no conditional write, and each writes the whole catalogue.
        self.approve = self._function("Approve", "approve", "Takes signatures, carries out", concurrency=1)
        self.watch = self._function("Watch", "watch", "Mends what is not as it was wanted", concurrency=1)
        for writer in (self.approve, self.watch):
            self.register.grant_calls(writer.role, "GetItem", "UpdateItem")
            self._let_tell(writer, "DeleteItem", "GetItem", "PutItem")
            data.catalogue.grant_write(writer.role)
        self._halt_on(config.controls.halting_cases)
        self.watch.on_schedule(
            "Minute", schedule=events.Schedule.rate(Duration.minutes(1)), description="Controls are as they are wanted"
        )
        LogMetrics(self, "Metrics", log_group=self.watch.log_group, metrics=(CONTROLS_AMISS,))
        self._operators()

    def _let_tell(self, function: EventFunction, *calls: str) -> None:
        """Let a function tell the engine, and halt withdrawals or whatever `calls` to their table permit."""
        function.connections.allow_to_default_port(self._engine.engine.connections, "tells what operators want")
        self._withdrawals.register.grant_calls(function.role, *calls)

    def _halt_on(self, cases: Sequence[str]) -> None:
        """Pull the brake when a case says that money may be missing: whoever looks into it comes minutes later."""
        of_event = events.EventField.from_path
        self.brake.on_event(
            "MoneyMissing",
            bus=self._data.events.bus,
            pattern=BusinessEvents.pattern(CaseOpened, detail={"kind": list(cases)}),
            given=events.RuleTargetInput.from_object(
                {
                    "control_id": of_event("$.id"),
                    "asked_by": "case",
                    "kind": WITHDRAWALS,
                    "value": HALTED,
                    "reason": of_event("$.detail.kind"),
                }
            ),
        )

    def _operators(self) -> None:
        brakeman = AccountRole(self, "Brakeman", description="Operators who halt")
        self.brake.grant_call(brakeman)
        asker = AccountRole(self, "Asker", description="Operators who ask for openings and limits")
        self.ask.grant_call(asker)
        approver = AccountRole(self, "Approver", description="Operators who approve")
        self.approve.grant_call(approver)
        for each in (brakeman, asker, approver):
            self.register.grant_calls(each, "GetItem")
        for name in ("brake", "ask", "approve"):
            CfnOutput(self, f"{name.title()}FunctionName", value=getattr(self, name).function.function_name)
        CfnOutput(self, "ControlTableName", value=self.register.table_name)

    def _function(self, name: str, handler: str, description: str, *, concurrency: int) -> EventFunction:
        made = EventFunction(
            self,
            name,
            config=self._config,
            platform=self._platform,
            service="controls",
            handler=f"handler.{handler}",
            description=description,
            environment={
                "APPROVERS": ",".join(self._config.controls.approvers),
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
                "CONTROL_TABLE": self.register.table_name,
                "ENGINE_ADDRESS": self._engine.engine.address,
                "EVENT_BUS": self._data.events.bus.event_bus_name,
                "WITHDRAWAL_TABLE": self._withdrawals.register.table_name,
            },
            concurrency=concurrency,
        )
        self._data.catalogue.grant_read(made.role)
        self._data.events.grant_publish(made.role)
        return made
