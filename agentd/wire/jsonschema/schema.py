"""A schema, compiled once and held against any number of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from agentd.wire.jsonschema.applicators import APPLICATORS
from agentd.wire.jsonschema.assertions import ASSERTIONS, Assertion
from agentd.wire.jsonschema.automaton import TooMuch
from agentd.wire.jsonschema.evaluation import Check, Node, Run, Visit, apply
from agentd.wire.jsonschema.resources import Located, Resources, SchemaError
from agentd.wire.jsonschema.values import is_type


class Validator:
    def __init__(self, root: Node) -> None:
        self._root = root

    def errors(self, value: Any) -> list[str]:
        """What is wrong with parsed JSON, as "$.items[0].name: expected string, found 3"; at most 20. None: it
        fits."""
        problems: list[str] = []
        try:
            apply(self._root, Visit(Run(), value, None, problems))
        except TooMuch:
            problems.append("$: too large to be checked")
        except RecursionError:
            problems.append("$: nested too deeply to be checked")
        return problems


def compile_schema(schema: Any) -> Validator:
    """A validator for parsed JSON that is a schema. Raises SchemaError for what it cannot understand."""
    try:
        compiler = _Compiler(Resources(schema))
        root = compiler.all()
    except RecursionError as exc:
        raise SchemaError("nested too deeply") from exc
    return Validator(root)


class _Compiler:
    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._nodes: dict[int, Node] = {}
        self._pending: list[tuple[Located, Node]] = []

    def all(self) -> Node:
        """The root's node, with all that can be got to from it; the rest is looked at for what is wrong with it."""
        root = self.node(self.resources.root)
        for located in self.resources:
            self.node(located)
        while self._pending:
            located, node = self._pending.pop()
            self._fill(located, node)
        _refuse_circles([*self._nodes.values()])
        return root

    def node(self, located: Located) -> Node:
        known = self._nodes.get(id(located.schema))
        if known is None:
            known = self._nodes[id(located.schema)] = Node(located.base, located.where)
            self._pending.append((located, known))
        return known

    def _fill(self, located: Located, node: Node) -> None:
        if located.schema is True:
            return
        if located.schema is False:
            node.checks.append(lambda visit: visit.tell("not allowed here"))
            return
        scope = _Scope(_as_of_today(located.schema, located.where), located, node, self)
        for keyword, (kind, make) in ASSERTIONS.items():
            if keyword in scope.schema:
                with _at(f"{located.where}/{keyword}"):
                    node.checks.append(_check(kind, make(scope.schema[keyword])))
        for keyword, applicator in APPLICATORS.items():
            if keyword in scope.schema:
                with _at(f"{located.where}/{keyword}"):
                    node.checks.append(applicator(scope))


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Says in a SchemaError which keyword it is about."""
    try:
        yield
    except SchemaError as exc:
        raise exc if str(exc).startswith("#") else SchemaError(f"{where}: {exc}") from exc


def _check(kind: str | None, assertion: Assertion) -> Check:
    def check(visit: Visit) -> None:
        if (kind is None or is_type(kind, visit.value)) and (wrong := assertion(visit.value)) is not None:
            visit.tell(wrong)

    return check


@attrs.frozen
class _Scope:
    """A schema that is being compiled; see applicators.Scope."""

    schema: Mapping[str, Any]
    located: Located
    filled: Node
    compiler: _Compiler

    def node(self, *path: str | int, here: bool = False) -> Node:
        schema: Any = self.schema
        for step in path:
            schema = schema[step]
        made = self.compiler.node(self.compiler.resources[schema])
        self.filled.here += [made] if here else []
        return made

    def reference(self, keyword: str) -> Node:
        target = self.compiler.resources.resolve(self._reference(keyword), self.located)
        made = self.compiler.node(target)
        self.filled.here += [made] if keyword == "$ref" else []
        return made

    def dynamic(self) -> dict[str, Node]:
        """Where a $dynamicRef can lead, by the resource that decides it."""
        resources = self.compiler.resources
        name = resources.dynamic_name(self._reference("$dynamicRef"), self.located)
        found = resources.dynamic(name) if name is not None else {}
        return {base: self.compiler.node(located) for base, located in found.items()}

    def _reference(self, keyword: str) -> str:
        reference = self.schema[keyword]
        if not isinstance(reference, str):
            raise SchemaError("expected a string")
        return reference


def _as_of_today(schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What older drafts wrote in another way."""
    if "$recursiveRef" in schema:
        raise SchemaError(f"{where}/$recursiveRef: is of draft 2019-09; $dynamicRef has taken its place")
    made = dict(schema)
    if isinstance(schema.get("items"), list):
        made["prefixItems"] = made.pop("items")
        if "additionalItems" in schema:
            made["items"] = schema["additionalItems"]
    dependencies = schema.get("dependencies", {})
    for keyword, kinds in (("dependentRequired", list), ("dependentSchemas", (dict, bool))):
        if found := {name: each for name, each in dependencies.items() if isinstance(each, kinds)}:
            made[keyword] = {**found, **schema.get(keyword, {})}
    return made


def _refuse_circles(nodes: list[Node]) -> None:
    """Raises SchemaError where a schema applies itself, over others or not, to the value that it is applied to."""
    done: set[int] = set()
    for start in nodes:
        path: dict[int, Node] = {}
        pending = [(start, False)]
        while pending:
            node, left = pending.pop()
            if left:
                done.add(id(node))
                del path[id(node)]
            elif id(node) in path:
                raise SchemaError(f"{node.where}: refers to itself without end")
            elif id(node) not in done:
                path[id(node)] = node
                pending += [(node, True), *((inner, False) for inner in node.here)]
