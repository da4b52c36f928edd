"""Reporting: what is written down of every day and kept unchangeable, and who may read it."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from config.model import Environment
from exchange_constructs.account_role import AccountRole
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.ledger_database import READER, REGULATOR
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.report_delivery import ReportDelivery
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import GROUP
from stacks.foundation_stack import FoundationStack
from stacks.surveillance_stack import SurveillanceStack


class ReportingStack(ExchangeStack):
    """Reports of each day, and hourly copies of the ledger that prove what it held."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        data: DataStack,
        platform: FunctionPlatform,
        surveillance: SurveillanceStack,
    ) -> None:
        """Create buckets and functions, the supervisor's role, and what bourse and clearing house come in by."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            description="Reports and their delivery, copies of the ledger, supervisor",
        )
        self._config, self._data, self._platform = config, data, platform
        key, access_logs, records = foundation.keys.records, foundation.access_logs, config.records
        self.reports = RecordBucket(
            self,
            "Reports",
            config=config,
            key=key,
            access_logs=access_logs,
            years=records.reports_years,
            copied=foundation.copies.of(),
        )
        self.ledger = RecordBucket(
            self,
            "Ledger",
            config=config,
            key=key,
            access_logs=access_logs,
            years=records.ledger_years,
            copied=foundation.copies.of("postings/"),
        )
        self.filer = self._filer(surveillance)
        self.exporter = self._exporter()
        self.customer_records = self._customer_records()
        self.views = self._views()
        self.statements = self._statements()
        self.portfolio = self._portfolio()
        self.regulator = AccountRole(
            self,
            "Regulator",
            account=records.regulator_account,
            description="The supervisor: reads reports, and asks for records and views",
        )
        self.reports.grant_read_back(self.regulator)
        iam.Grant.add_to_principal(
            grantee=self.regulator,
            actions=["lambda:InvokeFunction"],
            resource_arns=[asked.function.function_arn for asked in (self.customer_records, self.views)],
        )
        self.delivery = ReportDelivery(
            self,
            "Delivery",
            config=config,
            keys=foundation.keys,
            platform=platform,
            bus=data.events.bus,
            reports=self.reports,
        )

    def _filer(self, surveillance: SurveillanceStack) -> EventFunction:
        function = self._function(
            "Filer",
            service="reporting",
            handler="handler.file",
            description="Files the reports of every day that has ended",
            environment={
                "REPORT_BUCKET": self.reports.bucket_name,
                "CASE_TABLE": surveillance.cases.table_name,
                "EVENT_BUS": self._data.events.bus.event_bus_name,
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
            },
        )
        self.reports.grant_add(function.role)
        self.reports.grant_find(function.role)
        surveillance.cases.grant_calls(function.role, "Scan")
        self._data.events.grant_publish(function.role)
        self._data.catalogue.grant_read(function.role)
        # Midnight in Jakarta is a full hour in UTC; every hour, so that what could not be filed is soon made good.
        function.on_schedule(
            "Hourly", schedule=events.Schedule.cron(minute="5"), description="Reports of days that have ended"
        )
        return function

    def _exporter(self) -> EventFunction:
        function = self._function(
            "Exporter",
            service="ledger",
            handler="handler.export",
            description="Carries the hash chain of postings on",
            environment={"LEDGER_BUCKET": self.ledger.bucket_name, "GROUP": GROUP},
        )
        self.ledger.grant_add(function.role, prefix="postings/")
        self.ledger.grant_read_back(function.role, prefix="postings/")
        function.on_schedule(
            "Hourly", schedule=events.Schedule.cron(minute="35"), description="Postings since the last hour"
        )
        return function

    def _customer_records(self) -> EventFunction:
        function = self._function(
            "CustomerRecords",
            service="reporting",
            handler="handler.customer_records",
            description="Answers the supervisor: one customer's orders and trades of one day",
            environment={"CATALOGUE_PARAMETER": self._data.catalogue.name},
            user=REGULATOR,
        )
        self._data.catalogue.grant_read(function.role)
        return function

    def _views(self) -> EventFunction:
        return self._function(
            "Views",
            service="reporting",
            handler="handler.view",
            description="Answers the supervisor: a page of one of the views made for it",
            environment={},
            user=REGULATOR,
        )

    def _statements(self) -> EventFunction:
        function = self._function(
            "Statements",
            service="portfolio",
            handler="handler.statements",
            description="Files each customer's statement of the month that has ended",
            environment={
                "REPORT_BUCKET": self.reports.bucket_name,
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
            },
        )
        self.reports.grant_add(function.role, prefix="statement")
        self.reports.grant_find(function.role)
        self._data.catalogue.grant_read(function.role)
        # Daily: a month is filed once, and a day on which that failed is made good by the next.
        function.on_schedule(
            "Daily", schedule=events.Schedule.cron(hour="19", minute="20"), description="Statements of the last month"
        )
        return function

    def _portfolio(self) -> EventFunction:
        function = self._function(
            "Portfolio",
            service="portfolio",
            handler="handler.portfolio",
            description="Answers what one account holds, what it cost and what it earned",
            environment={"CATALOGUE_PARAMETER": self._data.catalogue.name},
        )
        self._data.catalogue.grant_read(function.role)
        return function

    def _function(
        self,
        name: str,
        *,
        service: str,
        handler: str,
        description: str,
        environment: dict[str, str],
        user: str = READER,
    ) -> EventFunction:
        function = EventFunction(
            self,
            name,
            config=self._config,
            platform=self._platform,
            service=service,
            handler=handler,
            description=description,
            environment={"DATABASE_URL": self._data.database.proxy_url(user), **environment},
            timeout=Duration.minutes(10),
            memory_mib=1024,
            concurrency=1,
        )
        self._data.database.let_read(function, user)
        return function
