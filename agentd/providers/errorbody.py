"""What a service's error says, out of the many shapes that services give it. Reads anything, raises nothing.

{"error": {"message", "type", "code", "param"}}             OpenAI, vLLM since 0.10, llama.cpp, Ollama, LiteLLM
{"type": "error", "error": {"type", "message", "details"}}  Anthropic
{"object": "error", "message", "type", "code"}              vLLM before
{"error": "text"}                                           Ollama's own API
{"detail": "text" or [{"loc", "msg"}]}                      FastAPI, in front of many
[{"error": {…}}]                                            Google's OpenAI-compatible API
an HTML page, or plain text                                 proxies
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

READ_BYTES = 64 * 1024  # of an error's body: more than any message has


@attrs.frozen
class Problem:
    message: str = ""
    type: str = ""
    code: str = ""
    status: int | None = None  # an HTTP status within the error, as vLLM, llama.cpp and gateways have it


def read_body(body: bytes, content_type: str) -> Problem:
    """What the body of an answer with an error status says."""
    text = body[:READ_BYTES].decode("utf-8", "replace").strip()
    try:
        return read_error(json.loads(text))
    except (ValueError, RecursionError):
        return Problem(_of_page(text) if "html" in content_type or text.startswith("<") else text)


def read_error(value: Any) -> Problem:
    """What an error as parsed JSON says: a whole body, or what is under its "error"."""
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return Problem(value)
    if not isinstance(value, dict):
        return Problem()
    inner = value.get("error")
    if isinstance(inner, dict | list):
        return read_error(inner)
    if isinstance(inner, str) and inner and not value.get("message"):
        return Problem(inner)
    return _of_object(value)


def _of_object(error: dict[str, Any]) -> Problem:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    given = error.get("code") if code is None else code
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    return Problem(_text(message), _text(error.get("type")), _text(given), _status(error.get("code")))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _status(code: Any) -> int | None:
    number = int(code) if isinstance(code, str) and re.fullmatch(r"[0-9]{3}", code) else code
    return number if type(number) is int and 300 <= number < 600 else None


def _of_page(html: str) -> str:
    """The title of a page, or its text."""
    title = re.search(r"<title[^>]*>([^<]*)", html, re.IGNORECASE)
    if title and title[1].strip():
        return title[1].strip()
    return re.sub(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", html, flags=re.IGNORECASE | re.DOTALL).strip()
