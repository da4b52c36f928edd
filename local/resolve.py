"""Replaces the intrinsic functions of a template by values. Pure: what a name stands for comes from a Scope.

Anything that is not understood is an error, never a guess: a template that only works here would be worth nothing.

ResolveError
├── UnknownIntrinsicError   a function this module does not know
└── UnknownNameError        a parameter, resource, output, export, mapping or condition that is not there
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

Json: TypeAlias = Any
"""A value as JSON holds it: templates are nothing else."""


class ResolveError(ValueError):
    """A template asks for something that cannot be answered."""


class UnknownIntrinsicError(ResolveError):
    """The template uses a function that CloudFormation may know and this module does not."""


class UnknownNameError(ResolveError):
    """The template names something that does not exist."""


class Scope(Protocol):
    """What the names in one stack stand for."""

    def ref(self, name: str) -> Json:
        """Return the value of a pseudo parameter, parameter or resource."""

    def attribute(self, name: str, attribute: str) -> Json:
        """Return one attribute of a resource."""

    def condition(self, name: str) -> bool:
        """Return whether a condition of the stack holds."""

    def mapping(self, table: str, key: str, leaf: str) -> Json:
        """Return one value of a mapping."""

    def exported(self, name: str) -> Json:
        """Return what an earlier stack exported."""

    def output(self, stack: str, name: str, region: str) -> Json:
        """Return an output of an earlier stack; an empty region is this stack's own."""

    def zones(self, region: str) -> list[str]:
        """Return the availability zones of a region."""

    def dynamic(self, service: str, reference: str) -> str:
        """Return what `{{resolve:service:reference}}` stands for."""


NO_VALUE: Final = object()
"""What `AWS::NoValue` resolves to: the property that holds it is left out."""
_SUBSTITUTION: Final = re.compile(r"\$\{(!?)([^}]+)\}")
_DYNAMIC: Final = re.compile(r"\{\{resolve:(secretsmanager|ssm|ssm-secure):(.+?)\}\}")


def resolve(node: Json, scope: Scope) -> Json:
    """Return `node` with every intrinsic function replaced by its value."""
    if isinstance(node, dict):
        function = next((key for key in node if _is_function(key)), None)
        if function is not None and len(node) == 1:
            return _call(function, node[function], scope)
        if function is not None:
            raise UnknownIntrinsicError(f"{function} stands beside {', '.join(sorted(set(node) - {function}))}")
        return {key: value for key, raw in node.items() if (value := resolve(raw, scope)) is not NO_VALUE}
    if isinstance(node, list):
        return [value for raw in node if (value := resolve(raw, scope)) is not NO_VALUE]
    return node


def _call(function: str, argument: Json, scope: Scope) -> Json:  # noqa: C901, PLR0912 - a table: one case a function
    match function, argument:
        case "Ref", str(name):
            return scope.ref(name)
        case "Fn::GetAtt", [str(name), attribute]:
            return scope.attribute(name, _text(resolve(attribute, scope)))
        case "Fn::GetAtt", str(dotted):
            return scope.attribute(*_split_attribute(dotted))
        case "Fn::Join", [str(separator), parts]:
            return separator.join(_text(part) for part in resolve(parts, scope))
        case "Fn::Select", [index, items]:
            return _select(resolve(index, scope), resolve(items, scope))
        case "Fn::Split", [str(separator), text]:
            return _text(resolve(text, scope)).split(separator)
        case "Fn::If", [str(name), yes, no]:
            return resolve(yes if scope.condition(name) else no, scope)
        case "Fn::FindInMap", [table, key, leaf]:
            return scope.mapping(*(_text(resolve(part, scope)) for part in (table, key, leaf)))
        case "Fn::Base64", text:
            return b64encode(_text(resolve(text, scope)).encode()).decode()
        case "Fn::Sub", str(text):
            return _substitute(text, {}, scope)
        case "Fn::Sub", [str(text), dict(names)]:
            return _substitute(text, resolve(names, scope), scope)
        case "Fn::ImportValue", name:
            return scope.exported(_text(resolve(name, scope)))
        case "Fn::GetStackOutput", {"StackName": str(stack), "OutputName": str(output), **where}:
            return scope.output(stack, output, _region(where))
        case "Fn::GetAZs", region:
            return scope.zones(_text(resolve(region, scope)) or _text(scope.ref("AWS::Region")))
    raise UnknownIntrinsicError(f"no rule for {function} of {argument!r:.200}")


def resolve_dynamic(node: Json, scope: Scope) -> Json:
    """Return `node` with every `{{resolve:…}}` string replaced. Runs last, over values that are otherwise settled."""
    match node:
        case str():
            return _DYNAMIC.sub(lambda found: scope.dynamic(found[1], found[2]), node)
        case dict():
            return {key: resolve_dynamic(value, scope) for key, value in node.items()}
        case list():
            return [resolve_dynamic(value, scope) for value in node]
    return node


def holds(condition: Json, scope: Scope) -> bool:
    """Return whether the body of a condition is true."""
    match condition:
        case {"Condition": str(name)}:
            return scope.condition(name)
        case {"Fn::Equals": [left, right]}:
            return bool(resolve(left, scope) == resolve(right, scope))
        case {"Fn::Not": [inner]}:
            return not holds(inner, scope)
        case {"Fn::And": [*inners]}:
            return all(holds(inner, scope) for inner in inners)
        case {"Fn::Or": [*inners]}:
            return any(holds(inner, scope) for inner in inners)
    raise UnknownIntrinsicError(f"no rule for the condition {condition!r:.200}")


def references(node: Json) -> Iterator[str]:
    """Yield every name that `node` refers to: resources, but also parameters and pseudo parameters."""
    match node:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), attribute]}:
            yield name
            yield from references(attribute)
        case {"Fn::GetAtt": str(dotted)}:
            yield _split_attribute(dotted)[0]
        case {"Fn::Sub": str(text)}:
            yield from _substitution_names(text, ())
        case {"Fn::Sub": [str(text), dict(names)]}:
            yield from _substitution_names(text, names)
            yield from references(names)
        case dict():
            for value in node.values():
                yield from references(value)
        case list():
            for value in node:
                yield from references(value)


def _substitute(text: str, names: Mapping[str, Json], scope: Scope) -> str:
    def value(found: re.Match[str]) -> str:
        literal, name = found[1], found[2].strip()
        if literal:
            return f"${{{name}}}"
        if name in names:
            return _text(names[name])
        return _text(scope.attribute(*_split_attribute(name)) if "." in name else scope.ref(name))

    return _SUBSTITUTION.sub(value, text)


def _substitution_names(text: str, given: Mapping[str, Json] | tuple[()]) -> Iterator[str]:
    for literal, name in _SUBSTITUTION.findall(text):
        if not literal and name.strip() not in given:
            yield name.strip().partition(".")[0]


def _is_function(key: str) -> bool:
    return key == "Ref" or key.startswith("Fn::")


def _split_attribute(dotted: str) -> tuple[str, str]:
    name, dot, attribute = dotted.partition(".")
    if not dot:
        raise ResolveError(f"Fn::GetAtt needs Resource.Attribute, was {dotted!r}")
    return name, attribute


def _region(where: Json) -> str:
    """Return the region that a reference to another stack names; empty for the stack's own."""
    if not where:
        return ""
    match where:
        case {"Region": str(region), **more} if not more:
            return region
    raise UnknownIntrinsicError(f"no rule for Fn::GetStackOutput with {where!r:.200}")


def _select(index: Json, items: Json) -> Json:
    if not isinstance(items, list) or not 0 <= int(index) < len(items):
        raise ResolveError(f"Fn::Select has no item {index!r} in {items!r:.120}")
    return items[int(index)]


def _text(value: Json) -> str:
    """Return a scalar as CloudFormation writes it in a string. Raises ResolveError for a list or an object."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
    raise ResolveError(f"needs text, was {value!r:.120}")
