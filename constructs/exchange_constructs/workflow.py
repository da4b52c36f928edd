"""A state machine whose steps are our functions: logged, traced, under our key, and able to call nothing else."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.model import Environment
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

_PLACE: Final = re.compile(r"\$\{(\w+)\}")
DATA_KEY_REUSE: Final = Duration.minutes(5)


class Workflow(Construct):
    """Runs a definition in Amazon States Language; `${Name}` in it stands for the function of that name.

    The log tells of steps and errors, not of inputs and outputs, which may be about a person.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        definition: Mapping[str, Any],
        functions: Mapping[str, EventFunction],
    ) -> None:
        """Create the state machine. Raises ValueError where definition and `functions` do not name the same."""
        super().__init__(scope, construct_id)
        text = json.dumps(definition)
        named = set(_PLACE.findall(text))
        if named != set(functions):
            raise ValueError(f"the definition names the functions {sorted(named)}, given were {sorted(functions)}")
        self._key = platform.keys.messages
        logs = ServiceLogs(self, "Logs", config=config, key=platform.keys.logs)
        self.role = ServiceRole(self, "Role", service="states.amazonaws.com", description=f"Steps of {construct_id}")
        self.role.add_managed_policy(platform.workflow_telemetry)
        iam.Grant.add_to_principal(
            grantee=self.role,
            actions=["lambda:InvokeFunction"],
            resource_arns=[function.function.function_arn for function in functions.values()],
        )
        self._key.grant(self.role, "kms:Decrypt", "kms:GenerateDataKey")
        # The L1, as the L2 would write stars for log and traces into this role's own policy.
        self._machine = sfn.CfnStateMachine(
            self,
            "Machine",
            role_arn=self.role.role_arn,
            definition_string=text,
            definition_substitutions={name: each.function.function_arn for name, each in functions.items()},
            logging_configuration=sfn.CfnStateMachine.LoggingConfigurationProperty(
                level="ALL",
                include_execution_data=False,
                destinations=[
                    sfn.CfnStateMachine.LogDestinationProperty(
                        cloud_watch_logs_log_group=sfn.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=logs.log_group_arn
                        )
                    )
                ],
            ),
            tracing_configuration=sfn.CfnStateMachine.TracingConfigurationProperty(enabled=True),
            encryption_configuration=sfn.CfnStateMachine.EncryptionConfigurationProperty(
                type="CUSTOMER_MANAGED_KMS_KEY",
                kms_key_id=self._key.key_arn,
                kms_data_key_reuse_period_seconds=DATA_KEY_REUSE.to_seconds(),
            ),
        )
        # A machine that starts before its role may call functions would fail its first step.
        self._machine.node.add_dependency(self.role)

    @property
    def arn(self) -> str:
        """By which executions are started."""
        return self._machine.attr_arn

    def grant_start(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` start executions."""
        self._grant(grantee, "states:StartExecution")

    def grant_answer(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` answer executions that wait for a task's token."""
        self._grant(grantee, "states:SendTaskFailure", "states:SendTaskSuccess")

    def _grant(self, grantee: iam.IGrantable, *actions: str) -> None:
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[self.arn])
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
