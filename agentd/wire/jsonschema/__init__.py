"""JSON Schema 2020-12: whether a JSON value is what a schema asks for, and if not, why. Pure; nothing is fetched.

Known are the vocabularies core, applicator, unevaluated and validation; `format`, `content…` and what is unknown say
nothing of a value, as the standard has it. Of older drafts, `definitions`, `dependencies`, `items` as an array with
`additionalItems` are read as what they have become. A schema from a stranger is safe to compile, and to hold against
values from another: sizes are bounded, patterns take linear time, references that lead in circles are refused.

    schema.py       compile_schema() and Validator
    resources.py    where schemas are, and what they are called
    assertions.py   keywords that look at one value
    applicators.py  keywords that apply schemas
    evaluation.py   how far an evaluation has come
    values.py       values as JSON Schema sees them
    regex.py        patterns as ECMA-262 writes them; automaton.py runs them
"""

from agentd.wire.jsonschema.resources import SchemaError
from agentd.wire.jsonschema.schema import Validator, compile_schema

__all__ = ["SchemaError", "Validator", "compile_schema"]
