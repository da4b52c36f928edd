"""What is not built says so."""

from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.liquidity.handler import NotBuiltError, handle


@pytest.mark.parametrize("asked", [{}, {"partner": "MakerOne", "day": "2026-11-27"}])
def test_whatever_is_asked_the_answer_is_that_it_is_not_built(asked: dict[str, Any]) -> None:
    with pytest.raises(NotBuiltError, match="the liquidity programme is not built"):
        handle(asked, LambdaContext())
