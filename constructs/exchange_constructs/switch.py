"""A part that configuration turns on or off, and that stands in the template of every environment all the same."""

from typing import cast

from aws_cdk import CfnCondition, CfnMapping, CfnResource, Fn, ICfnConditionExpression
from constructs import Construct, IConstruct


class Switch(CfnCondition):
    """A condition that holds while `on`. What it governs is reviewed and tested in every environment."""

    def __init__(self, scope: Construct, construct_id: str, *, on: bool, within: CfnCondition | None = None) -> None:
        """Write the state into a mapping: a parameter would keep its old value at the next deployment.

        A part that uses another one is on only `within` the switch of that one.
        """
        state = CfnMapping(scope, f"{construct_id}State", mapping={"Switch": {"On": "yes" if on else "no"}})
        itself = Fn.condition_equals(state.find_in_map("Switch", "On"), "yes")
        both = Fn.condition_and(cast(ICfnConditionExpression, within), itself) if within else itself
        super().__init__(scope, construct_id, expression=both)

    def governs(self, *parts: IConstruct) -> None:
        """Create every resource of `parts` only while the switch is on; nothing else may refer to them."""
        for part in parts:
            for resource in part.node.find_all():
                if isinstance(resource, CfnResource):
                    resource.cfn_options.condition = self
