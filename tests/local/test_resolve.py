"""Every intrinsic by example, nesting by property, and nothing resolved by a guess."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.resolve import (
    NO_VALUE,
    ResolveError,
    UnknownIntrinsicError,
    UnknownNameError,
    holds,
    references,
    resolve,
    resolve_dynamic,
)


class Scope:
    """Names lead to what they say."""

    def __init__(self, conditions: dict[str, bool] | None = None) -> None:
        self.conditions = conditions or {}

    def ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name == "Missing":
            raise UnknownNameError(name)
        return {"AWS::Region": "ap-southeast-3", "List": ["a", "b"], "Flag": True}.get(name, f"<{name}>")

    def attribute(self, name: str, attribute: str) -> Any:
        return f"<{name}.{attribute}>"

    def condition(self, name: str) -> bool:
        return self.conditions[name]

    def mapping(self, table: str, key: str, leaf: str) -> Any:
        return f"{table}/{key}/{leaf}"

    def exported(self, name: str) -> Any:
        return f"export {name}"

    def output(self, stack: str, name: str, region: str) -> Any:
        return f"{stack}.{name}" + f" in {region}" * bool(region)

    def zones(self, region: str) -> list[str]:
        return [f"{region}a", f"{region}b"]

    def dynamic(self, service: str, reference: str) -> str:
        return f"[{service} {reference}]"


SCOPE = Scope({"Yes": True, "No": False})


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ({"Ref": "Queue"}, "<Queue>"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "<Queue.Arn>"),
        ({"Fn::GetAtt": ["Queue", {"Ref": "Name"}]}, "<Queue.<Name>>"),
        ({"Fn::GetAtt": "Cluster.Endpoint.Address"}, "<Cluster.Endpoint.Address>"),
        ({"Fn::Join": ["-", ["a", {"Ref": "B"}, 3, True]]}, "a-<B>-3-true"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", {"Ref": "x/y"}]}]}, "y>"),
        ({"Fn::Select": ["0", ["a", "b"]]}, "a"),
        ({"Fn::If": ["Yes", 1, {"Ref": "Missing"}]}, 1),
        ({"Fn::If": ["No", {"Ref": "Missing"}, [2]]}, [2]),
        ({"Fn::FindInMap": ["Map", {"Ref": "AWS::Region"}, "ami"]}, "Map/ap-southeast-3/ami"),
        ({"Fn::Base64": {"Fn::Sub": "${A}"}}, "PEE+"),
        ({"Fn::Sub": "arn:${AWS::Region}:${Queue.Arn}:${!Literal}"}, "arn:ap-southeast-3:<Queue.Arn>:${Literal}"),
        ({"Fn::Sub": ["${a} ${b}", {"a": {"Ref": "A"}}]}, "<A> <b>"),
        ({"Fn::ImportValue": {"Fn::Sub": "${X}"}}, "export <X>"),
        (
            {"Fn::GetStackOutput": {"StackName": "Dev-Data", "Region": "r", "OutputName": "Out"}},
            "Dev-Data.Out in r",
        ),
        ({"Fn::GetAZs": ""}, ["ap-southeast-3a", "ap-southeast-3b"]),
        ({"Fn::GetAZs": "eu-west-1"}, ["eu-west-1a", "eu-west-1b"]),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
    ],
)
def test_each_intrinsic_becomes_its_value(node: Any, value: Any) -> None:
    assert resolve(node, SCOPE) == value


@pytest.mark.parametrize(
    "node",
    [
        {"Fn::Cidr": ["10.0.0.0/16", 2, 8]},
        {"Fn::Transform": {"Name": "AWS::Include"}},
        {"Ref": ["not", "a", "name"]},
        {"Fn::GetAtt": ["Queue"]},
        {"Fn::Join": ["-", ["a"]], "beside": 1},
        [{"deep": {"Fn::Nothing": 1}}],
    ],
)
def test_what_is_not_known_is_an_error_and_never_a_guess(node: Any) -> None:
    with pytest.raises(UnknownIntrinsicError):
        resolve(node, SCOPE)


@pytest.mark.parametrize(
    "node",
    [
        {"Fn::Select": [2, ["a", "b"]]},
        {"Fn::Select": [-1, ["a", "b"]]},
        {"Fn::Join": ["-", [{"not": "text"}]]},
        {"Fn::GetAtt": "NoDot"},
        {"Ref": "Missing"},
    ],
)
def test_a_wrong_argument_is_an_error(node: Any) -> None:
    with pytest.raises(ResolveError):
        resolve(node, SCOPE)


def test_conditions() -> None:
    equals = {"Fn::Equals": [{"Ref": "AWS::Region"}, "ap-southeast-3"]}
    assert holds(equals, SCOPE)
    assert not holds({"Fn::Not": [equals]}, SCOPE)
    assert holds({"Fn::And": [equals, {"Condition": "Yes"}]}, SCOPE)
    assert holds({"Fn::Or": [{"Condition": "No"}, {"Condition": "Yes"}]}, SCOPE)
    with pytest.raises(UnknownIntrinsicError):
        holds({"Fn::Contains": [["a"], "a"]}, SCOPE)


def test_dynamic_references_are_replaced_where_they_stand_in_text() -> None:
    given_node = {
        "Password": "x{{resolve:secretsmanager:arn:SecretString:password::}}y",
        "Other": ["{{resolve:ssm:/p:1}}"],
    }
    assert resolve_dynamic(given_node, SCOPE) == {
        "Password": "x[secretsmanager arn:SecretString:password::]y",
        "Other": ["[ssm /p:1]"],
    }


names = st.from_regex(r"[A-Z][A-Za-z0-9]{0,8}", fullmatch=True)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6).map("k".__add__), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(plain)
def test_what_holds_no_function_stays_as_it_is(node: Any) -> None:
    assert resolve(node, SCOPE) == node
    assert list(references(node)) == []


@st.composite
def with_functions(draw: st.DrawFn) -> tuple[Any, Any, list[str]]:
    """Return a node, what it must resolve to, and the names it refers to."""
    kind = draw(st.sampled_from(["scalar", "ref", "att", "sub", "join", "if", "list", "dict"]))
    name = draw(names)
    match kind:
        case "scalar":
            value = draw(scalars)
            return value, value, []
        case "ref":
            return {"Ref": name}, f"<{name}>", [name]
        case "att":
            return {"Fn::GetAtt": [name, "Arn"]}, f"<{name}.Arn>", [name]
        case "sub":
            return (
                {"Fn::Sub": f"${{{name}}}/${{!{name}}}/${{{name}.Id}}"},
                f"<{name}>/${{{name}}}/<{name}.Id>",
                [name, name],
            )
    inner = draw(st.lists(with_functions(), max_size=3))
    nodes, values, refs = [i[0] for i in inner], [i[1] for i in inner], [r for i in inner for r in i[2]]
    match kind:
        case "join":
            texts = [(n, v) for n, v in zip(nodes, values, strict=True) if isinstance(v, str)]
            node = {"Fn::Join": ["+", [n for n, _ in texts]]}
            return node, "+".join(v for _, v in texts), [r for n, _ in texts for r in references(n)]
        case "if":
            node = {"Fn::If": ["Yes", nodes, nodes]}
            return node, values, refs + refs
        case "list":
            return nodes, values, refs
    keys = [f"k{n}" for n in range(len(nodes))]
    return dict(zip(keys, nodes, strict=True)), dict(zip(keys, values, strict=True)), refs


@given(with_functions())
def test_functions_resolve_at_any_depth_and_every_reference_is_found(case: tuple[Any, Any, list[str]]) -> None:
    node, value, names_used = case
    before = json.dumps(node)
    assert resolve(node, Scope({"Yes": True})) == value
    assert Counter(references(node)) == Counter(names_used)
    assert json.dumps(node) == before, "the template itself must not change"
