"""What is said of each route of runs, specs and models in their OpenAPI document. The contract: runs-and-chat.md, 1, 5
and 11 to 13."""

from __future__ import annotations

from typing import Any

from agentd.faces.runs import service
from agentd.faces.runs.routes import PREFIX
from agentd.faces.runs.routes import routes as run_routes
from agentd.wire.openapi.document import JSON, SSE, Description, Operation, Parameter, below, make_document

RUNS, MODELS, HEALTH = "Runs", "Specs and models", "Health"
NOT_GOOD, TOO_LARGE = "The body or a parameter is not what it has to be.", "The body is too large."
NO_RUN, LOCKED = "No such run.", "Something else is at work in it."

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
MAYBE: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
AMOUNT: Schema = {"type": ["number", "null"], "minimum": 0}
OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(words: str) -> Schema:
    return {"enum": words.split()}


def many(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def shown(texts: str = "", /, **fields: Schema) -> Schema:
    """What is answered: an object with all of these. *texts*: names of those that are nothing but text."""
    properties = {**dict.fromkeys(texts.split(), TEXT), **fields}
    return {"type": "object", "required": [*properties], "properties": properties}


def asked(texts: str, /, **fields: Schema) -> Schema:
    """What clients send: *texts* have to be there, *fields* need not."""
    names = texts.split()
    return {"type": "object", "required": names, "properties": {**dict.fromkeys(names, TEXT), **fields}}


PROBLEM = shown("error")
OK = shown(ok={"const": True})
STATES = "waiting_approval succeeded failed"
POLICY = {"require_tools": FLAG, "require_vision": FLAG, "max_cost_usd": AMOUNT, "preferred_models": many(TEXT)}
SCHEMAS = {
    "Run": shown(
        "id created_at updated_at workspace_path spec_path",
        status=one_of(f"queued running {STATES} canceled"),
        model_canonical=MAYBE,
        steps=many(ref("Step")),
        error=MAYBE,
    ),
    "Step": shown(
        "id title type",
        needs_approval=FLAG,
        command=MAYBE,
        status=one_of(f"pending running {STATES} skipped"),
        started_at=MAYBE,
        completed_at=MAYBE,
    ),
    "ModelRecord": shown(
        "id provider providerModelId displayName",
        modalities=shown(**dict.fromkeys(("text", "vision", "audioIn", "audioOut", "imageOut"), FLAG)),
        features=shown(**dict.fromkeys(("tools", "jsonMode", "jsonSchema", "streaming", "batch"), FLAG)),
        limits=OBJECT,
        tags=many(TEXT),
        pricing={"type": ["object", "null"]},
        availability=shown(
            entitled=FLAG, confidence=one_of("listed inferred learned"), lastVerifiedAt=MAYBE, reason=MAYBE
        ),
    ),
    "Policy": shown(**POLICY),
}
EVENT = {
    "type": "object",
    "required": ["ts", "type"],
    "properties": {
        **dict.fromkeys(("ts", "type", "message", "run_id", "session_id", "turn_id"), TEXT),
        "data": OBJECT,
    },
}


def follow(tag: str, missing: str) -> Operation:
    return Operation(
        "Follow its events",
        {200: "All that there were, then those that come.", 404: missing},
        tag,
        gives=(JSON, SSE),
        schema=many(ref("Event")),
        query={
            "after": Parameter("the id of the last event that is known", COUNT),
            "follow": Parameter("false: those that there were, and no more", FLAG),
            "format": Parameter("json: those that there were, as an array", one_of("json sse")),
            "max": Parameter("events of that array at most; 0: all", COUNT),
        },
        headers={"Last-Event-ID": Parameter("where a live stream goes on")},
    )


def packed(tag: str, missing: str) -> Operation:
    return Operation("Download all of it", {200: "A zip archive.", 404: missing}, tag, gives=("application/zip",))


def alive(schema: Schema) -> Operation:
    return Operation("Whether it lives", {200: "It does."}, HEALTH, schema=schema)


OPERATIONS: dict[str, Operation | None] = {
    "POST /v1/runs": Operation(
        "Have a spec carried out",
        {200: "It has begun, or is in line.", 400: NOT_GOOD, 413: TOO_LARGE},
        RUNS,
        asked("workspace_path spec_path"),
        schema=shown("run_id"),
    ),
    "GET /v1/runs": Operation("List runs", {200: "The newest first."}, RUNS, schema=many(ref("Run"))),
    "GET /v1/runs/{run_id}": Operation("Read a run", {200: "As it is now.", 404: NO_RUN}, RUNS, schema=ref("Run")),
    "GET /v1/runs/{run_id}/events": follow(RUNS, NO_RUN),
    "POST /v1/runs/{run_id}/approve": Operation(
        "Let the step that waits go on",
        {200: "It does.", 400: "No such step waits.", 404: NO_RUN, 409: LOCKED, 413: TOO_LARGE},
        RUNS,
        asked("step_id"),
        schema=OK,
    ),
    "POST /v1/runs/{run_id}/cancel": Operation(
        "End a run", {200: "It ends, or has ended before.", 404: NO_RUN, 409: LOCKED, 413: TOO_LARGE}, RUNS, schema=OK
    ),
    "GET /v1/runs/{run_id}/export": packed(RUNS, NO_RUN),
    "POST /v1/specs/generate": Operation(
        "Have a spec written, and wait for it",
        {200: "Where it is, and what it says.", 400: NOT_GOOD, 409: "There is one of that name.", 413: TOO_LARGE},
        MODELS,
        asked("workspace_path spec_name prompt", overwrite=FLAG),
        schema=shown("spec_path content"),
    ),
    "GET /v1/models": Operation(
        "List the models that there are",
        {200: "And the policy by which one is chosen; warnings, where a service does not answer."},
        MODELS,
        schema={
            "type": "object",
            "required": ["models", "policy"],
            "properties": {"models": many(ref("ModelRecord")), "policy": ref("Policy"), "warnings": many(TEXT)},
        },
    ),
    "GET /v1/model-policy": Operation("Read the policy", {200: "It."}, MODELS, schema=ref("Policy")),
    "POST /v1/model-policy": Operation(
        "Put a policy in the place of the one before",
        {200: "It, with what was left out.", 400: NOT_GOOD, 413: TOO_LARGE},
        MODELS,
        asked("", **POLICY),
        schema=ref("Policy"),
    ),
    "GET /v1/workspace/tree": Operation(
        "List the files of a workspace",
        {200: "Their paths below it.", 400: NOT_GOOD},
        MODELS,
        schema=shown("root", files=many(TEXT)),
        query={"workspace_path": Parameter("a directory", required=True)},
    ),
    "GET /healthz": alive(OK),
    "GET /hello": alive(shown("message")),
}


def description(title: str, summary: str, operations: dict[str, Operation | None], schemas: Schema) -> Description:
    """Of a part of this API."""
    return Description(
        title,
        summary,
        operations,
        {"bearer": {"type": "http", "scheme": "bearer"}},
        PROBLEM,
        {401: "A token is needed, and it is missing or wrong.", 403: "This page or this token may not do that."},
        {500: "The model's service, the disk or we have failed.", 503: "There is no room; see Retry-After."},
        {"Event": EVENT, **schemas},
    )


DESCRIPTION = description(
    "agentd: runs", "Runs that carry out a spec step by step, specs, and models.", OPERATIONS, SCHEMAS
)
routes = [
    *below(PREFIX, run_routes),
    *below(service.PREFIX, service.routes),
    *below("/healthz", service.health),
    *below("/hello", service.hello),
]


def document(server: str = "/") -> dict[str, Any]:
    return make_document(DESCRIPTION, routes, server)
