"""The compiled core and its sources: the same state, the same replies, the same events."""

import pytest

from tests.runtime.both_builds import assert_equal
from tests.soak import seeds

COMMANDS = 5_000
DIGEST = """
import sys
from hashlib import sha256
from runtime.engine import IS_COMPILED
from runtime.engine.replica import Replica
from runtime.shared.messages import encode
from tests.runtime.engine.flows import entries, opening, random_commands
replica, digest = Replica(), sha256()
for number, entry in enumerate(entries(iter([*opening(), *random_commands(int(sys.argv[1]), int(sys.argv[2]))]))):
    for message in replica.apply(number, entry):
        digest.update(encode(message))
print(IS_COMPILED, replica.state_hash(), digest.hexdigest())
"""


def test_both_builds_give_the_same_state_and_replies() -> None:
    assert_equal("engine", DIGEST, 20240607, COMMANDS)


@pytest.mark.soak
def test_both_builds_agree_on_random_flows() -> None:
    for seed in seeds(0.03):
        assert_equal("engine", DIGEST, seed, COMMANDS)
