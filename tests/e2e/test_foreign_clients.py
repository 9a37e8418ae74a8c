"""The agent API of the built file, as other people's clients see it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.listening import listening

CLIENT = Path(__file__).parent / "openai_client.py"
KEY = "the-key"


@pytest.fixture(scope="module")
def told(pyz: Path, clients: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What OpenAI's client was told."""
    place = tmp_path_factory.mktemp("agent")
    settings = {"API_KEY": KEY, "LISTEN_ADDR": "127.0.0.1:0", "AGENTD_DATA_DIR": str(place / "data")}
    with listening(pyz, "agent", cwd=place, MODEL_ALIASES="sonnet=builtin", **settings) as urls:
        done = subprocess.run(
            [clients / "python", CLIENT, urls[""], KEY], stdout=subprocess.PIPE, text=True, check=True, timeout=60
        )
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_openais_client_lists_and_reads_models(told: dict[str, Any]) -> None:
    assert "sonnet" in told["models"]
    assert told["model"] == "sonnet"


def test_openais_client_gets_a_whole_completion(told: dict[str, Any]) -> None:
    [choice] = told["whole"]["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert "4" in choice["message"]["content"]
    assert told["whole"]["usage"]["total_tokens"] > 0


def test_openais_client_gets_the_same_completion_in_chunks(told: dict[str, Any]) -> None:
    *chunks, last = told["chunks"]
    text = "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)
    assert text == told["whole"]["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0


def test_openais_client_tells_errors_apart(told: dict[str, Any]) -> None:
    assert told["no key"] == ["AuthenticationError", "AUTHENTICATION_ERROR"]
    assert told["no model"] == told["bad model"] == ["NotFoundError", "model_not_found"]
    assert told["bad messages"][0] == "BadRequestError"
