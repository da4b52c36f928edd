"""Lambda: what an operator asks of the liquidity programme. It is not built, and says so to everybody who asks."""

from collections.abc import Mapping
from typing import Any, NoReturn

from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.shared.functions import tracer


class NotBuiltError(NotImplementedError):
    """The part exists as infrastructure alone."""


@tracer.capture_lambda_handler(capture_response=False)
def handle(_asked: Mapping[str, Any], _context: LambdaContext) -> NoReturn:
    """Refuse, so that no caller takes silence for a promise that was kept. Raises NotBuiltError whatever is asked."""
    raise NotBuiltError(
        "the liquidity programme is not built: quotes are not held against promises, and no obligation is judged"
    )
