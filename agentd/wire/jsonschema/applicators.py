"""The keywords that apply schemas: to the same value, to members and to items. And `pattern`, which takes work, too.

The rules: JSON Schema Core 2020-12, sections 8.2.3, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from agentd.wire.jsonschema.assertions import count, make_pattern
from agentd.wire.jsonschema.evaluation import Check, Node, Visit
from agentd.wire.jsonschema.resources import SchemaError
from agentd.wire.jsonschema.values import excerpt, show


class Scope(Protocol):
    """A schema that is being compiled: its keywords, and the nodes of the schemas in it."""

    @property
    def schema(self) -> Mapping[str, Any]: ...

    def node(self, *path: str | int, here: bool = False) -> Node: ...
    def reference(self, keyword: str) -> Node: ...
    def dynamic(self) -> dict[str, Node]: ...


def only(kind: type, check: Check) -> Check:
    def check_kind(visit: Visit) -> None:
        if isinstance(visit.value, kind):
            check(visit)

    return check_kind


# --- To the same value --------------------------------------------------------------------------------------------


def _pattern(scope: Scope) -> Check:
    pattern = make_pattern(scope.schema["pattern"])

    def check(visit: Visit) -> None:
        if not visit.matches(pattern, visit.value):
            visit.tell(f"expected what matches the pattern {pattern.text}, found {excerpt(visit.value)}")

    return only(str, check)


def _ref(scope: Scope) -> Check:
    target = scope.reference("$ref")
    return lambda visit: visit.must(visit.here(target))


def _dynamic_ref(scope: Scope) -> Check:
    target, candidates = scope.reference("$dynamicRef"), scope.dynamic()

    def check(visit: Visit) -> None:
        outermost = next((candidates[base] for base in visit.run.scope if base in candidates), target)
        visit.must(visit.here(outermost))

    return check


def _branches(scope: Scope, keyword: str) -> list[Node]:
    if not scope.schema[keyword]:
        raise SchemaError("expected at least one schema")
    return [scope.node(keyword, index, here=True) for index in range(len(scope.schema[keyword]))]


def _all_of(scope: Scope) -> Check:
    branches = _branches(scope, "allOf")

    def check(visit: Visit) -> None:
        for branch in branches:
            visit.must(visit.here(branch))

    return check


def _any_of(scope: Scope) -> Check:
    branches = _branches(scope, "anyOf")

    def check(visit: Visit) -> None:
        tried = [visit.here(branch) for branch in branches]
        if not sum(map(visit.take, tried)):  # all of them: each that fits has looked at something
            _tell_nearest(visit, tried)

    return check


def _one_of(scope: Scope) -> Check:
    branches = _branches(scope, "oneOf")

    def check(visit: Visit) -> None:
        tried = [visit.here(branch) for branch in branches]
        fitting = sum(map(visit.take, tried))
        if fitting > 1:
            visit.tell(f"fits {fitting} of the alternatives, where exactly one is asked for")
        elif not fitting:
            _tell_nearest(visit, tried)

    return check


def _tell_nearest(visit: Visit, tried: list[Visit]) -> None:
    """Of alternatives that all fail, what is wrong with the one that the value is nearest to."""
    visit.tell("fits none of the alternatives; the nearest one says:")
    # Of the wrong type, or another value, as a whole: that is further off than anything that is wrong inside.
    other_kind = f"{show(visit.place)}: expected "
    visit.must(min(tried, key=lambda each: (each.problems[0].startswith(other_kind), len(each.problems))))


def _not(scope: Scope) -> Check:
    node = scope.node("not", here=True)

    def check(visit: Visit) -> None:
        if not visit.here(node).problems:
            visit.tell("fits what it must not fit")

    return check


def _if(scope: Scope) -> Check:
    condition = scope.node("if", here=True)
    then, otherwise = (
        scope.node(keyword, here=True) if keyword in scope.schema else None for keyword in ("then", "else")
    )

    def check(visit: Visit) -> None:
        branch = then if visit.take(visit.here(condition)) else otherwise
        if branch is not None:
            visit.must(visit.here(branch))

    return check


def _dependent_schemas(scope: Scope) -> Check:
    nodes = {name: scope.node("dependentSchemas", name, here=True) for name in scope.schema["dependentSchemas"]}

    def check(visit: Visit) -> None:
        for name, node in nodes.items():
            if name in visit.value:
                visit.must(visit.here(node))

    return only(dict, check)


# --- To members ---------------------------------------------------------------------------------------------------


def _properties(scope: Scope) -> Check:
    nodes = {name: scope.node("properties", name) for name in scope.schema["properties"]}

    def check(visit: Visit) -> None:
        for name, node in nodes.items():
            if name in visit.value:
                visit.into(node, name)

    return only(dict, check)


def _pattern_properties(scope: Scope) -> Check:
    texts = scope.schema["patternProperties"]
    patterns = [(make_pattern(text), scope.node("patternProperties", text)) for text in texts]

    def check(visit: Visit) -> None:
        for pattern, node in patterns:
            for name in visit.value:
                if visit.matches(pattern, name):
                    visit.into(node, name)

    return only(dict, check)


def _additional_properties(scope: Scope) -> Check:
    node = scope.node("additionalProperties")
    named = frozenset(scope.schema.get("properties", ()))
    patterns = [make_pattern(text) for text in scope.schema.get("patternProperties", ())]

    def check(visit: Visit) -> None:
        for name in visit.value:
            if name not in named and not any(visit.matches(pattern, name) for pattern in patterns):
                visit.into(node, name)

    return only(dict, check)


def _property_names(scope: Scope) -> Check:
    node = scope.node("propertyNames")

    def check(visit: Visit) -> None:
        names = Visit(visit.run, {name: name for name in visit.value}, visit.place, [])
        for name in visit.value:
            if not names.fits(node, name):
                visit.tell(f"not an acceptable name: {excerpt(name)}")

    return only(dict, check)


def _unevaluated_properties(scope: Scope) -> Check:
    node = scope.node("unevaluatedProperties")

    def check(visit: Visit) -> None:
        for name in [name for name in visit.value if name not in visit.names]:
            visit.into(node, name)

    return only(dict, check)


# --- To items -----------------------------------------------------------------------------------------------------


def _prefix_items(scope: Scope) -> Check:
    nodes = [scope.node("prefixItems", index) for index in range(len(scope.schema["prefixItems"]))]

    def check(visit: Visit) -> None:
        for index, node in enumerate(nodes[: len(visit.value)]):
            visit.into(node, index)

    return only(list, check)


def _items(scope: Scope) -> Check:
    node, first = scope.node("items"), len(scope.schema.get("prefixItems", ()))

    def check(visit: Visit) -> None:
        for index in range(first, len(visit.value)):
            visit.into(node, index)

    return only(list, check)


def _contains(scope: Scope) -> Check:
    node = scope.node("contains")
    least = count(scope.schema.get("minContains", 1))
    most = count(scope.schema["maxContains"]) if "maxContains" in scope.schema else None

    def check(visit: Visit) -> None:
        fitting = {index for index in range(len(visit.value)) if visit.fits(node, index)}
        visit.indexes |= fitting
        if len(fitting) < least or (most is not None and len(fitting) > most):
            wanted = f"at least {least}" + (f" and at most {most}" if most is not None else "")
            visit.tell(f"expected {wanted} of the items to fit, found {len(fitting)}")

    return only(list, check)


def _unevaluated_items(scope: Scope) -> Check:
    node = scope.node("unevaluatedItems")

    def check(visit: Visit) -> None:
        for index in range(len(visit.value)):
            if index not in visit.indexes:
                visit.into(node, index)

    return only(list, check)


APPLICATORS: dict[
    str, Callable[[Scope], Check]
] = {  # in the order that they are applied in: what looks at the rest last
    "pattern": _pattern,
    "$ref": _ref,
    "$dynamicRef": _dynamic_ref,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "prefixItems": _prefix_items,
    "items": _items,
    "contains": _contains,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "dependentSchemas": _dependent_schemas,
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
}
