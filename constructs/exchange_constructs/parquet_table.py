"""A table of the lake: where its Parquet objects lie, and what is in them."""

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_glue as glue
from constructs import Construct


class ParquetTable(glue.CfnTable):
    """Rows in Parquet, in a folder for each value of one column of dates."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        database: str,
        name: str,
        description: str,
        location: str,
        columns: Mapping[str, str],
        by_day: str,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the objects under `location`. `columns` are names and types; `by_day` is the column of dates."""
        column = glue.CfnTable.ColumnProperty
        super().__init__(
            scope,
            construct_id,
            catalog_id=Stack.of(scope).account,
            database_name=database,
            table_input=glue.CfnTable.TableInputProperty(
                name=name,
                description=description,
                table_type="EXTERNAL_TABLE",
                parameters={"classification": "parquet", **(parameters or {})},
                partition_keys=[column(name=by_day, type="date")],
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    location=location,
                    columns=[column(name=name, type=kind) for name, kind in columns.items()],
                    input_format="org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                    output_format="org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library="org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
                    ),
                ),
            ),
        )
