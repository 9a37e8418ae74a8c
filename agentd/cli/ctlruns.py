"""Commands of `agentd ctl` for runs, specs and models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentd.cli.ctl import Usage
from agentd.cli.ctlclient import ADMIN, Ctl, Failed, part

SPEC_SECONDS = 660.0
ENDS = {"run_succeeded": 0, "run_failed": 1, "run_canceled": 1}


def spec_prompt(ctl: Ctl) -> None:
    prompt = ctl.text("prompt")
    if not prompt:
        try:
            prompt = Path(ctl.needed("prompt-file")).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise Failed(f"--prompt-file: {exc}") from exc
    body = {"workspace_path": ctl.path("workspace"), "spec_name": ctl.words[0], "prompt": prompt}
    asked = {**body, "overwrite": ctl.settings.switch("overwrite")}
    with ctl.waiting(f"writing the spec {ctl.words[0]}"):
        made = ctl.ask("POST", "/v1/specs/generate", asked, seconds=SPEC_SECONDS)
    ctl.show(made, made["spec_path"], *(made["content"].splitlines() if ctl.settings.switch("print") else ()))


def run(ctl: Ctl) -> int:
    ctl.needed("spec")
    made = ctl.ask("POST", "/v1/runs", {"workspace_path": ctl.path("workspace"), "spec_path": ctl.path("spec")})
    ctl.show(made, made["run_id"])
    return follow(ctl, made["run_id"]) if ctl.settings.switch("follow") else 0


def attach(ctl: Ctl) -> int:
    return follow(ctl, ctl.words[0])


def follow(ctl: Ctl, run_id: str) -> int:
    """Show its events until it is over; 0 where it succeeded."""
    for event in ctl.follow(f"/v1/runs/{part(run_id)}/events"):
        told = json.loads(event.data)
        ctl.show(told, line_of(told))
        if told["type"] in ENDS:
            return ENDS[told["type"]]
    return 1


def line_of(event: dict[str, Any]) -> str:
    return f"{event['ts']}  {event['type']:<22}  {' '.join(event.get('message', '').split()) or '-'}"


def list_runs(ctl: Ctl) -> None:
    runs = ctl.ask("GET", "/v1/runs")
    ctl.show(runs, *(f"{run['id']}  {run['status']:<18}  {run['spec_path']}" for run in runs))


def cancel(ctl: Ctl) -> None:
    [ident] = ctl.words
    if ident.startswith("run_"):
        ctl.show(ctl.ask("POST", f"/v1/runs/{part(ident)}/cancel"), "ok")
    elif ident.startswith("sess_"):
        ctl.show(ctl.ask("POST", f"/v1/sessions/{part(ident)}/cancel"), "ok")
    else:
        ctl.show(ctl.ask("POST", f"{ADMIN}/sessions/{part(ident)}/cancel"), "ok")


def export(ctl: Ctl) -> None:
    out = Path(ctl.needed("out"))
    data = ctl.fetch("GET", f"/v1/runs/{part(ctl.words[0])}/export").body
    try:
        out.write_bytes(data)
    except OSError as exc:
        raise Failed(f"cannot write {out}: {exc.strerror}") from exc
    ctl.show({"file": str(out), "bytes": len(data)}, f"wrote {out}")


# --- Models -------------------------------------------------------------------------------------------------------


def models(ctl: Ctl) -> None:
    with ctl.waiting("asking the services"):
        found = ctl.ask("GET", "/v1/models")
    ctl.table(found, map(_model_row, found["models"]), "MODEL", "CONTEXT", "USD PER MILLION", "SEES", "STATE")
    for warning in found.get("warnings", []):
        ctl.tell(f"warning: {warning}")


def _model_row(model: dict[str, Any]) -> tuple[Any, ...]:
    price, there = model["pricing"], model["availability"]
    cost = f"{price['inputPer1M']:g} in, {price['outputPer1M']:g} out" if price else "not known"
    state = there["confidence"] if there["entitled"] else there["reason"]
    return model["id"], model["limits"]["contextTokens"], cost, "yes" if model["modalities"]["vision"] else "", state


def policy(ctl: Ctl) -> None:
    found = ctl.ask("GET", "/v1/model-policy")
    if changes := ctl.settings.many("set"):
        found = ctl.ask("POST", "/v1/model-policy", found | dict(_change(found, each) for each in changes))
    lines = (f"{name:<17} {' '.join(v) if isinstance(v, list) else json.dumps(v)}" for name, v in found.items())
    ctl.show(found, *lines)


def _change(found: dict[str, Any], text: str) -> tuple[str, Any]:
    """NAME=VALUE; a list has commas between its texts."""
    name, equals, value = (each.strip() for each in text.partition("="))
    if not equals or name not in found:
        raise Usage(f"--set {text}: it is one of {', '.join(found)}, then = and the value")
    if isinstance(found[name], list):
        return name, [each.strip() for each in value.split(",") if each.strip()]
    try:
        return name, json.loads(value or "null")
    except ValueError:
        raise Usage(f"--set {name}: {value} is neither a number nor true, false or null") from None
