"""The evaluation of policies: what IAM would say, each rule on its own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.grants.policy import Call, Decision, Policies, PolicyError, decide, holds, statements

ROLE = "arn:aws:iam::123456789012:role/Engine"
KEY = "arn:aws:kms:r:123456789012:key/k"
QUEUE = "arn:aws:sqs:r:123456789012:q"
ROOT = {"AWS": "arn:aws:iam::123456789012:root"}


def one(effect: str = "Allow", action: Any = "sqs:SendMessage", resource: Any = QUEUE, **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def said(
    call: Call,
    *own: dict[str, Any],
    theirs: list[dict[str, Any]] | None = None,
    boundary: Any = None,
    is_key: bool = False,
) -> Decision:
    return decide(
        call,
        Policies(
            identity=statements({"Statement": list(own)}, "own"),
            boundary=None if boundary is None else statements({"Statement": boundary}, "boundary"),
            resource=None if theirs is None else statements({"Statement": theirs}, "theirs"),
            is_key=is_key,
        ),
    )


SEND = Call(role=ROLE, action="sqs:SendMessage", resource=QUEUE)
BY_EVENTS = Call(
    service="events.amazonaws.com",
    action="sqs:SendMessage",
    resource=QUEUE,
    context=(("aws:sourcearn", ("arn:rule/a",)),),
)
DECRYPT = Call(role=ROLE, action="kms:Decrypt", resource=KEY)


def test_nothing_is_allowed_unless_a_statement_says_so() -> None:
    assert said(SEND) == Decision(is_allowed=False)
    assert said(SEND, one()) == Decision(is_allowed=True, by="own#1")
    assert not said(SEND, one(action="sqs:ReceiveMessage")).is_allowed
    assert not said(SEND, one(resource=QUEUE + "2")).is_allowed
    assert said(SEND, one(action="SQS:Send*", resource="*")).is_allowed
    assert said(SEND, one(action=["a:b", "sqs:SendMessag?"])).is_allowed


def test_a_deny_anywhere_wins() -> None:
    assert said(SEND, one(), one("Deny", "sqs:*", "*")) == Decision(is_allowed=False, by="own#2")
    assert said(SEND, one(), theirs=[one("Deny", Principal="*")]) == Decision(is_allowed=False, by="theirs#1")
    assert said(SEND, one(), theirs=[one("Deny", Principal=ROOT)]) == Decision(is_allowed=False, by="theirs#1")
    assert said(SEND, one(), boundary=[one("Allow", "*", "*"), one("Deny")]) == Decision(
        is_allowed=False, by="boundary#2"
    )


def test_a_boundary_bounds_what_identity_policies_allow() -> None:
    assert said(SEND, one(), boundary=[one("Allow", "sqs:*", "*")]).is_allowed
    assert not said(SEND, one(), boundary=[one("Allow", "s3:*", "*")]).is_allowed
    assert not said(SEND, boundary=[one("Allow", "*", "*")]).is_allowed


def test_a_resource_may_allow_a_role_by_name_and_a_service_only_so() -> None:
    assert said(SEND, theirs=[one(Principal={"AWS": ROLE})]) == Decision(is_allowed=True, by="theirs#1")
    assert not said(SEND, theirs=[one(Principal=ROOT)]).is_allowed, "the account alone gives nobody anything"
    assert not said(BY_EVENTS, one("Allow", "*", "*")).is_allowed, "a service has no identity policies"
    by_service = one(Principal={"Service": "events.amazonaws.com"})
    assert said(BY_EVENTS, theirs=[by_service]).is_allowed
    assert not said(SEND, theirs=[by_service]).is_allowed
    only = {**by_service, "Condition": {"ArnEquals": {"aws:SourceArn": "arn:rule/b"}}}
    assert not said(BY_EVENTS, theirs=[only]).is_allowed


def test_a_key_decides_unless_it_hands_on_to_identity_policies() -> None:
    own = one(action="kms:Decrypt", resource=KEY)
    handing_on = one(action="kms:*", resource="*", Principal=ROOT)
    assert not said(DECRYPT, own, theirs=[], is_key=True).is_allowed
    assert said(DECRYPT, own, theirs=[handing_on], is_key=True) == Decision(is_allowed=True, by="own#1")
    assert not said(DECRYPT, theirs=[handing_on], is_key=True).is_allowed
    assert said(
        DECRYPT, theirs=[one(action="kms:Decrypt", resource="*", Principal={"AWS": ROLE})], is_key=True
    ).is_allowed
    attested = {**handing_on, "Condition": {"StringEquals": {"kms:RecipientAttestation:PCR0": "aa"}}}
    assert not said(DECRYPT, own, theirs=[attested], is_key=True).is_allowed


def test_the_reverse_parts() -> None:
    assert said(SEND, {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::*"}).is_allowed
    assert not said(SEND, {"Effect": "Allow", "NotAction": "sqs:*", "Resource": "*"}).is_allowed
    others = {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}, "Action": "*", "Resource": "*"}
    assert said(SEND, one(), theirs=[others]).is_allowed
    assert not said(Call(role=ROLE + "2", action=SEND.action, resource=QUEUE), one(), theirs=[others]).is_allowed


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"StringEquals": {"a": "1"}}, True),
        ({"StringEquals": {"A": ["2", "1"]}}, True),
        ({"StringEquals": {"a": "2"}}, False),
        ({"StringEquals": {"missing": "1"}}, False),
        ({"StringEqualsIfExists": {"missing": "1"}}, True),
        ({"StringNotEquals": {"a": "1"}}, False),
        ({"StringNotEquals": {"missing": "1"}}, True),
        ({"StringEqualsIgnoreCase": {"word": "BURSA"}}, True),
        ({"StringNotLike": {"word": "bur*"}}, False),
        ({"StringLike": {"word": "b?rsa"}}, True),
        ({"ArnLike": {"arn": "arn:aws:sqs:*:1:q*"}}, True),
        ({"ArnNotEquals": {"arn": "arn:aws:sqs:r:1:other"}}, True),
        ({"ArnEquals": {"arn": "arn:aws:*"}}, False),
        ({"Bool": {"tls": "false"}}, False),
        ({"Bool": {"tls": True}}, True),
        ({"Null": {"missing": "true"}}, True),
        ({"Null": {"a": "true"}}, False),
        ({"NumericLessThan": {"a": "1.2"}}, True),
        ({"NumericGreaterThanEquals": {"a": 2}}, False),
        ({"IpAddress": {"ip": "10.0.0.0/8"}}, True),
        ({"NotIpAddress": {"ip": "10.0.0.0/8"}}, False),
        ({"ForAllValues:StringEquals": {"many": ["x", "y", "z"]}}, True),
        ({"ForAllValues:StringEquals": {"many": ["x"]}}, False),
        ({"ForAllValues:StringEquals": {"missing": ["x"]}}, True),
        ({"ForAnyValue:StringEquals": {"many": ["x"]}}, True),
        ({"StringEquals": {"a": "1"}, "Bool": {"tls": "false"}}, False),
    ],
)
def test_conditions(conditions: dict[str, Any], *, expected: bool) -> None:
    context = {
        "a": ["1"],
        "word": ["bursa"],
        "arn": ["arn:aws:sqs:r:1:q1"],
        "tls": ["true"],
        "ip": ["10.1.2.3"],
        "many": ["x", "y"],
    }
    assert holds(conditions, context) == expected


@pytest.mark.parametrize("operator", ["DateLessThan", "StringMatches", "ForSomeValues:StringEquals", "BinaryEquals"])
def test_an_unknown_operator_is_an_error_when_the_policy_is_read(operator: str) -> None:
    with pytest.raises(PolicyError, match=f"no rule for the condition operator {operator}"):
        statements({"Statement": [one(Condition={operator: {"a": "1"}})]}, "it")
    with pytest.raises(PolicyError, match="Effect is Allow or Deny"):
        statements({"Statement": [one("Maybe")]}, "it")


some = st.builds(
    one,
    st.sampled_from(["Allow", "Deny"]),
    st.sampled_from(["sqs:SendMessage", "sqs:*", "s3:*"]),
    st.sampled_from([QUEUE, "*", "arn:other"]),
)


@given(st.lists(some, max_size=5), some)
def test_one_more_deny_never_allows_and_one_more_allow_never_denies(
    own: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    before, after = said(SEND, *own).is_allowed, said(SEND, *own, more).is_allowed
    assert before == after or (after == (more["Effect"] == "Allow"))
