"""QuickSight: the metrics of trading, drawn by day and market. Needs a subscription of the account."""

from typing import Final

from aws_cdk import aws_kms as kms
from aws_cdk import aws_quicksight as quicksight
from constructs import Construct

from config.model import Environment
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trade_lake import TradeLake
from runtime.shared.trade_metrics import DIMENSIONS, METRICS, Metric, daily_query

_LOOK: Final = "quicksight:DescribeDashboard", "quicksight:ListDashboardVersions", "quicksight:QueryDashboard"
_USE_DATA: Final = (
    "quicksight:DescribeDataSet",
    "quicksight:DescribeDataSetPermissions",
    "quicksight:PassDataSet",
)
_USE_SOURCE: Final = (
    "quicksight:DescribeDataSource",
    "quicksight:DescribeDataSourcePermissions",
    "quicksight:PassDataSource",
)
DATA: Final = "daily"
_Chart: Final = quicksight.CfnDashboard


class TradeDashboard(Construct):
    """A source that asks the lake as a role of its own, a data set of every metric, and a sheet with a chart of each.

    Questions go to Athena each time, so QuickSight stores no trade; the readers' group may look, and change nothing.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, lake: TradeLake
    ) -> None:
        """Create source, data set and dashboard. Answers of the lake are under `key`."""
        super().__init__(scope, construct_id)
        self._account, name = config.account, f"bursa-{config.name}"
        self._readers = (
            f"arn:aws:quicksight:{config.region}:{config.account}:group/default/{config.analytics.dashboard.readers}"
        )
        role = ServiceRole(
            self, "Role", service="quicksight.amazonaws.com", description="Asks the lake for the dashboard"
        )
        lake.grant_ask(role)
        key.grant(role, "kms:Decrypt", "kms:GenerateDataKey")
        source = quicksight.CfnDataSource(
            self,
            "Source",
            aws_account_id=config.account,
            data_source_id=f"{name}-lake",
            name=f"{name}: lake of trades",
            type="ATHENA",
            data_source_parameters=quicksight.CfnDataSource.DataSourceParametersProperty(
                athena_parameters=quicksight.CfnDataSource.AthenaParametersProperty(
                    work_group=lake.workgroup.name, role_arn=role.role_arn
                )
            ),
            ssl_properties=quicksight.CfnDataSource.SslPropertiesProperty(disable_ssl=False),
            permissions=[
                quicksight.CfnDataSource.ResourcePermissionProperty(principal=self._readers, actions=list(_USE_SOURCE))
            ],
        )
        source.node.add_dependency(role.policy)
        data = self._data_set(name, source)
        self._dashboard(name, data)

    def _data_set(self, name: str, source: quicksight.CfnDataSource) -> quicksight.CfnDataSet:
        columns: list[tuple[str, str]] = [(column, kind) for column, kind, _ in DIMENSIONS]
        columns += [(metric.name, "DECIMAL" if metric.name == "turnover" else "INTEGER") for metric in METRICS]
        return quicksight.CfnDataSet(
            self,
            "Data",
            aws_account_id=self._account,
            data_set_id=f"{name}-daily",
            name=f"{name}: trading by day and market",
            import_mode="DIRECT_QUERY",
            physical_table_map={
                DATA: quicksight.CfnDataSet.PhysicalTableProperty(
                    custom_sql=quicksight.CfnDataSet.CustomSqlProperty(
                        data_source_arn=source.attr_arn,
                        name=DATA,
                        sql_query=daily_query(),
                        columns=[
                            quicksight.CfnDataSet.InputColumnProperty(name=column, type=kind)
                            for column, kind in columns
                        ],
                    )
                )
            },
            permissions=[
                quicksight.CfnDataSet.ResourcePermissionProperty(principal=self._readers, actions=list(_USE_DATA))
            ],
        )

    def _dashboard(self, name: str, data: quicksight.CfnDataSet) -> None:
        quicksight.CfnDashboard(
            self,
            "Dashboard",
            aws_account_id=self._account,
            dashboard_id=f"{name}-trading",
            name=f"{name}: trading",
            definition=_Chart.DashboardVersionDefinitionProperty(
                data_set_identifier_declarations=[
                    _Chart.DataSetIdentifierDeclarationProperty(data_set_arn=data.attr_arn, identifier=DATA)
                ],
                sheets=[
                    _Chart.SheetDefinitionProperty(
                        sheet_id="trading", name="Trading", visuals=[_chart(metric) for metric in METRICS]
                    )
                ],
            ),
            permissions=[_Chart.ResourcePermissionProperty(principal=self._readers, actions=list(_LOOK))],
        )


def _chart(metric: Metric) -> quicksight.CfnDashboard.VisualProperty:
    """Return a line for each market, by day."""

    def column(name: str) -> quicksight.CfnDashboard.ColumnIdentifierProperty:
        return _Chart.ColumnIdentifierProperty(column_name=name, data_set_identifier=DATA)

    day = _Chart.DimensionFieldProperty(
        date_dimension_field=_Chart.DateDimensionFieldProperty(
            column=column("day"), field_id=f"{metric.name}-day", date_granularity="DAY"
        )
    )
    symbol = _Chart.DimensionFieldProperty(
        categorical_dimension_field=_Chart.CategoricalDimensionFieldProperty(
            column=column("symbol"), field_id=f"{metric.name}-symbol"
        )
    )
    value = _Chart.MeasureFieldProperty(
        numerical_measure_field=_Chart.NumericalMeasureFieldProperty(
            column=column(metric.name),
            field_id=f"{metric.name}-value",
            # A day and a market have one row: the sum is that row, whatever the number means.
            aggregation_function=_Chart.NumericalAggregationFunctionProperty(simple_numerical_aggregation="SUM"),
        )
    )
    wells = _Chart.LineChartAggregatedFieldWellsProperty(category=[day], colors=[symbol], values=[value])
    title = _Chart.ShortFormatTextProperty(plain_text=f"{metric.title} ({metric.unit})")
    return _Chart.VisualProperty(
        line_chart_visual=_Chart.LineChartVisualProperty(
            visual_id=metric.name,
            title=_Chart.VisualTitleLabelOptionsProperty(visibility="VISIBLE", format_text=title),
            chart_configuration=_Chart.LineChartConfigurationProperty(
                type="LINE",
                field_wells=_Chart.LineChartFieldWellsProperty(line_chart_aggregated_field_wells=wells),
            ),
        )
    )
