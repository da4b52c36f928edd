"""How somebody becomes a customer: sign-up, checks, decision, account."""

from aws_cdk import aws_iam as iam
from constructs import Construct

from config.model import Environment
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.customer_mail import CustomerMail
from exchange_constructs.customer_pool import CustomerPool
from exchange_constructs.customer_tables import ApplicationTable, WithdrawalLockTable
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.private_bucket import PrivateBucket
from exchange_constructs.record_bucket import ERASES, lock_for
from exchange_constructs.upload_scan import UploadScan
from exchange_constructs.web_firewall import WebFirewall
from exchange_constructs.workflow import Workflow
from runtime.onboarding.applications import LIST_KEY
from runtime.onboarding.flow import FLOW
from runtime.shared.business_events import ApplicationReceived, PartnerAnswered
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.edge_store_stack import EdgeStoreStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack


class OnboardingStack(ExchangeStack):
    """The user pool, what is known of applicants, and the state machine that decides about them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        edge_store: EdgeStoreStack,
        platform: FunctionPlatform,
        data: DataStack,
        engine: EngineStack,
    ) -> None:
        """Create them; only one function, the opener, reaches the engine."""
        super().__init__(scope, construct_id, config=config, description="Customers' sign-in and onboarding")
        key = foundation.keys.data
        self.applications = ApplicationTable(self, "Applications", config=config, key=key)
        self.locks = WithdrawalLockTable(self, "Locks", config=config, key=key)
        self.documents = PrivateBucket(
            self,
            "Documents",
            config=config,
            key=key,
            access_logs=foundation.access_logs,
            # The law counts from the end of the relation, the lock from the upload: in between nobody here may delete.
            lock=lock_for(config, config.offboarding.files_years),
            lifecycle=[ERASES],
            copied=foundation.copies.of(),
        )
        UploadScan(self, "DocumentScan", bucket=self.documents, key=key)
        stores = {
            "APPLICATION_TABLE": self.applications.name,
            "KYC_BUCKET": self.documents.bucket_name,
            "EVENT_BUS": data.events.bus.event_bus_name,
        }
        steps = self._function("Steps", config, platform, "handler.do_step", "One step of an application", stores)
        self.documents_list(steps, foundation)
        opener = self._function(
            "Opener",
            config,
            platform,
            "handler_opener.open_approved",
            "Opens the account of an approved applicant",
            {
                **stores,
                "ENGINE_ADDRESS": engine.engine.address,
                "CATALOGUE_PARAMETER": data.catalogue.name,
            },
        )
        data.catalogue.grant_read(opener.role)
        opener.connections.allow_to_default_port(engine.engine.connections, "opens accounts")
        for function in (steps, opener):
            self.applications.grant(function.role, "dynamodb:GetItem", "dynamodb:UpdateItem")
            data.events.grant_publish(function.role)
        self.flow = Workflow(
            self,
            "Flow",
            config=config,
            platform=platform,
            definition=FLOW,
            functions={"Steps": steps, "Opener": opener},
        )
        ear = self._function(
            "Ear",
            config,
            platform,
            "handler.hear",
            "Starts applications, hands on the KYC partner's answers",
            {**stores, "FLOW_ARN": self.flow.arn},
        )
        self.applications.grant(ear.role, "dynamodb:GetItem")
        self.flow.grant_start(ear.role)
        self.flow.grant_answer(ear.role)
        ear.on_event("Received", bus=data.events.bus, pattern=BusinessEvents.pattern(ApplicationReceived))
        ear.on_event(
            "Answered",
            bus=data.events.bus,
            pattern=BusinessEvents.pattern(PartnerAnswered, detail={"partner": ["kyc"]}),
        )
        locker = self._function(
            "Locker",
            config,
            platform,
            "handler.credentials_changed",
            "Lets withdrawals wait after credentials changed",
            {"LOCK_TABLE": self.locks.name, "EVENT_BUS": data.events.bus.event_bus_name},
        )
        self.locks.grant(locker.role, "dynamodb:UpdateItem")
        data.events.grant_publish(locker.role)
        self.mail = CustomerMail(self, "Mail", config=config, platform=platform)
        self.customers = CustomerPool(self, "Customers", config=config, sender=self.mail.sender, on_credentials=locker)
        WebFirewall(
            self,
            "Firewall",
            config=config,
            name="SignIn",
            requests_per_address=config.edge.sign_in_requests_per_address,
            logs=edge_store.logs.bucket,
        ).stand_before(self.customers.pool.user_pool_arn)

    def _function(
        self,
        name: str,
        config: Environment,
        platform: FunctionPlatform,
        handler: str,
        description: str,
        environment: dict[str, str],
    ) -> EventFunction:
        return EventFunction(
            self,
            name,
            config=config,
            platform=platform,
            service="onboarding",
            handler=handler,
            description=description,
            environment=environment,
        )

    def documents_list(self, steps: EventFunction, foundation: FoundationStack) -> None:
        """Let `steps` read the sanctions list, and nothing else of the bucket."""
        iam.Grant.add_to_principal(
            grantee=steps.role, actions=["s3:GetObject"], resource_arns=[self.documents.arn_for_objects(LIST_KEY)]
        )
        foundation.keys.data.grant(steps.role, "kms:Decrypt")
