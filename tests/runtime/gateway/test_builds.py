"""The compiled path of an order and its sources: the same commands, the same refusals, the same limits."""

import re

import pytest

from tests.runtime.both_builds import assert_equal
from tests.runtime.gateway.asked import answers
from tests.soak import seeds

REQUESTS = 20_000
DIGEST = """
import sys
from hashlib import sha256
from runtime.gateway import IS_COMPILED
from tests.runtime.gateway.asked import answers
print(IS_COMPILED, sha256("\\n".join(answers(int(sys.argv[1]), int(sys.argv[2]))).encode()).hexdigest())
"""


def test_the_requests_are_right_and_wrong_in_many_ways() -> None:
    told = [*answers(20240607, REQUESTS)]
    assert len({each for each in told if "code" in each}) > 200
    assert sum(re.fullmatch("[0-9a-f]{30,}", each) is not None for each in told) > 1_000


def test_both_builds_answer_alike() -> None:
    assert_equal("gateway", DIGEST, 20240607, REQUESTS)


@pytest.mark.soak
def test_both_builds_agree_on_random_requests() -> None:
    for seed in seeds(0.03):
        assert_equal("gateway", DIGEST, seed, REQUESTS)
