"""The policy of the hot wallets' key, as the template of dev has it, with its references resolved."""

import copy
from typing import Any

import pytest

from tests.runtime.custody.vault import ROLE


@pytest.fixture(scope="session")
def key_policy(dev: Any) -> dict[str, Any]:
    """What KMS enforces: the synthesized policy, nothing written for tests."""
    ((_, key),) = [
        (path, key) for path, key in dev.of_type("AWS::KMS::Key") if path.startswith("Custody/WalletKeysHot")
    ]
    policy: dict[str, Any] = copy.deepcopy(key["KeyPolicy"])
    for statement in policy["Statement"]:
        names = statement["Principal"]
        if isinstance(names, dict) and isinstance(names["AWS"], dict):
            assert dev.text(names["AWS"]).startswith("<Signer")
            names["AWS"] = ROLE
    return policy
