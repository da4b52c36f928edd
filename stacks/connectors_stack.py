"""Partners outside the exchange: asked by events, heard by signed webhooks."""

from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_elasticloadbalancingv2_targets as elb_targets
from constructs import Construct

from config.model import Environment
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.partner_api import PartnerApi
from exchange_constructs.rest_front import RestFront
from runtime.connectors.handler import PATH
from runtime.shared.business_events import AddressScreeningRequested, KycRequested, PayoutRequested
from stacks.base_stack import ExchangeStack

HOOK_PRIORITY = 10


class ConnectorsStack(ExchangeStack):
    """KYC, bank and chain analysis; their webhooks come in behind the REST balancer and its web firewall."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        business_events: BusinessEvents,
        rest_front: RestFront,
    ) -> None:
        """Create the partners, and the one function that hears them."""
        super().__init__(scope, construct_id, config=config, description="Partners' APIs and webhooks")
        bus = business_events.bus
        rotation = EventFunction(
            self,
            "Rotation",
            config=config,
            platform=platform,
            service="connectors",
            handler="handler_rotation.rotate",
            description="Changes what partners sign their webhooks with",
            concurrency=1,
        )
        partners = {
            name: PartnerApi(
                self, name.title(), config=config, platform=platform, key=platform.keys.data, url=url, rotation=rotation
            )
            for name, url in config.connectors.urls.items()
        }
        partners["kyc"].call_on_event(
            "Requested", bus=bus, pattern=BusinessEvents.pattern(KycRequested), body={"reference": "application_id"}
        )
        partners["bank"].call_on_event(
            "Requested",
            bus=bus,
            pattern=BusinessEvents.pattern(PayoutRequested),
            body={"reference": "withdrawal_id", "currency": "asset", "amount": "amount"},
        )
        partners["screening"].call_on_event(
            "Requested",
            bus=bus,
            pattern=BusinessEvents.pattern(AddressScreeningRequested),
            body={"reference": "screening_id", "chain": "chain", "address": "address"},
        )
        self.hooks = EventFunction(
            self,
            "Hooks",
            config=config,
            platform=platform,
            service="connectors",
            handler="handler.hook",
            description="Puts partners' signed answers on the bus",
            environment={
                "EVENT_BUS": bus.event_bus_name,
                **{f"{name.upper()}_SECRET_ARN": partner.secret.secret_arn for name, partner in partners.items()},
            },
            concurrency=20,
            idempotent=True,
        )
        business_events.grant_publish(self.hooks.role)
        for partner in partners.values():
            partner.grant_verify(self.hooks.role)
        group = elb.ApplicationTargetGroup(self, "HookTargets", targets=[elb_targets.LambdaTarget(self.hooks.function)])
        elb.ApplicationListenerRule(
            self,
            "HookRule",
            listener=rest_front.listener,
            priority=HOOK_PRIORITY,
            conditions=[elb.ListenerCondition.path_patterns([f"{PATH}*"])],
            action=elb.ListenerAction.forward([group]),
        )
