"""What the business measures, as metrics for graphs, in CloudWatch's embedded format: one line of the log for each.

CloudWatch keeps floating-point numbers, exact up to 2^53. So nothing is decided by these: alarms and cases go by the
whole numbers that they were made from.
"""

from collections.abc import Mapping
from typing import Final

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

BUSINESS: Final = "Bursa/Business"


def emit(numbers: Mapping[str, int], **of: str) -> None:
    """Write `numbers` of what `of` names by its dimensions, such as Symbol or Asset; the service is one more."""
    line = EphemeralMetrics(namespace=BUSINESS)
    for dimension, name in of.items():
        line.add_dimension(dimension, name)
    for metric, value in numbers.items():
        line.add_metric(metric, MetricUnit.NoUnit, value)
    line.flush_metrics()
