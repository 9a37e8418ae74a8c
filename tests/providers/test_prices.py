"""What the name of a model says."""

from __future__ import annotations

import pytest

from agentd.providers.prices import KNOWN, sees

SEEING = """
claude-sonnet-5-5 claude-3-haiku-20240307 anthropic/claude-opus-4.1 gpt-4o-mini gpt-4.1 gpt-5.6-terra gpt-4-turbo o1 o3
o4-mini openai/o3 gemini-2.5-pro gemma3:4b google/gemma-3-27b-it grok-4 llama3.2-vision:11b llama4
meta-llama/Llama-4-Scout-17B-16E pixtral-12b mistral-small3.1 mistral-small-3.2-24b qwen2.5vl:7b qwen3-vl-235b
Qwen/Qwen3.5-9B deepseek-vl2 llava:13b minicpm-v moondream glm-4.5v kimi-k2.5 InternVL3-8B
"""
BLIND = """
gpt-3.5-turbo gpt-4 gpt-4-0613 gpt-oss-120b o1-mini o3-mini codellama llama3.1:8b meta-llama/Llama-3.3-70B
gemma3:1b gemma-2-9b codegemma mixtral-8x7b mistral-7b-instruct mistral-nemo codestral qwen2.5-coder:32b
qwen3-coder-480b Qwen3-235B-A22B qwq-32b deepseek-r1 deepseek-v3.2 deepseek-coder-v2 starcoder2 phi3 kimi-k2 glm-4.6
glm-5.3 command-r
"""


@pytest.mark.parametrize("name", SEEING.split())
def test_a_family_that_sees(name: str) -> None:
    assert sees(name) is True


@pytest.mark.parametrize("name", BLIND.split())
def test_a_family_that_does_not(name: str) -> None:
    assert sees(name) is False


@pytest.mark.parametrize("name", ["", "my-model", "claude-2.1", "qwen-max", "builtin", "phi4", "o5", "no1"])
def test_of_others_nothing_is_said(name: str) -> None:
    assert sees(name) is None


def test_all_models_that_are_known_see() -> None:
    assert {sees(model) for models in KNOWN.values() for model in models} == {True}
