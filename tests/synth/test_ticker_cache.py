"""The cache: one user without a password, whom the gateways alone may be."""

import re
from typing import Any

SIGN_IN = "elasticache:Connect"


def test_the_cache_knows_one_user_who_signs_in_by_iam(exchange: Any) -> None:
    ((_, cache),) = exchange.of_type("AWS::ElastiCache::ServerlessCache")
    ((_, group),) = exchange.of_type("AWS::ElastiCache::UserGroup")
    ((_, user),) = exchange.of_type("AWS::ElastiCache::User")
    assert re.fullmatch(r"<CacheUsers\w*>", exchange.text(cache["UserGroupId"]))
    (member,) = group["UserIds"]
    assert re.fullmatch(r"<CacheGateways\w*>", exchange.text(member))
    assert cache["Engine"] == group["Engine"] == user["Engine"] == "valkey"
    assert user["AuthenticationMode"] == {"Type": "iam"}
    assert not user.keys() & {"NoPasswordRequired", "Passwords"}
    assert user["UserId"] == user["UserName"], "ElastiCache demands it of a user who signs in by IAM"
    for name in (user["UserId"], group["UserGroupId"], cache["ServerlessCacheName"]):
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name), name


def test_the_user_may_count_and_nothing_else(exchange: Any) -> None:
    ((_, user),) = exchange.of_type("AWS::ElastiCache::User")
    assert user["AccessString"] == "on ~limits:* resetchannels -@all +incrby +expire"


def test_the_two_gateways_alone_sign_in_as_that_user_to_that_cache(exchange: Any) -> None:
    grants = {
        path.split("Grants", maxsplit=1)[0]: [exchange.text(each) for each in statement["Resource"]]
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and SIGN_IN in str(statement["Action"]) and "Boundary" not in path
    }
    assert grants.keys() == {"Gateway/RestRole", "Gateway/WebSocketRole"}
    for resources in grants.values():
        cache, user = sorted(resources)
        assert re.fullmatch(r"<Data/Cache\w+\.ARN>", cache)
        assert re.fullmatch(r"<Data/CacheGateways\w*\.Arn>", user)
