"""Talks to an agent API with OpenAI's own client: `python openai_client.py BASE_URL KEY`, where that is installed.

Prints what came, as JSON. tests/e2e/test_foreign_clients.py has it run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import openai  # type: ignore[import-not-found, unused-ignore]

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "My name is Ann."},
    {"role": "assistant", "content": "Hello Ann."},
    {"role": "user", "content": [{"type": "text", "text": "What is 2+2?"}]},
]


def main(base_url: str, key: str) -> dict[str, Any]:
    client = openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)
    stranger = openai.OpenAI(base_url=f"{base_url}/v1", api_key="wrong", max_retries=0)
    whole = client.chat.completions.create(model="sonnet", messages=TALK)
    return {
        "models": [model.id for model in client.models.list()],
        "model": client.models.retrieve("sonnet").id,
        "whole": whole.model_dump(),
        "chunks": chunks(client),
        "no key": failure(stranger.models.list),
        "no model": failure(lambda: client.models.retrieve("nothing")),
        "bad model": failure(lambda: client.chat.completions.create(model="nothing", messages=TALK)),
        "bad messages": failure(lambda: client.chat.completions.create(model="sonnet", messages=[])),
    }


def chunks(client: Any) -> list[dict[str, Any]]:
    options = {"include_usage": True}
    stream = client.chat.completions.create(model="sonnet", messages=TALK, stream=True, stream_options=options)
    return [chunk.model_dump() for chunk in stream]


def failure(call: Callable[[], Any]) -> list[str]:
    """The kind of the error that it raises, and the code that it names."""
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, str(error.code)]
    return []


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))  # noqa: T201 - to the test
