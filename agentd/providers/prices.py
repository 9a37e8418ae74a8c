"""What is known of models by their names: list prices, how long a conversation they take, and whether they take images.
Editable: what the configuration file says of a model comes before this.

As the services published them in November 2026: platform.claude.com/docs/en/about-claude/pricing and
developers.openai.com/api/docs/pricing; the standard rate, without surcharges for long prompts. A model whose price is
more than a few numbers has none here, and a model that is not here has none: a cost that is not known is null, never a
guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentd.providers.protocol import ModelInfo, Price

# The first model of a service is its default.
KNOWN: Mapping[str, Mapping[str, ModelInfo]] = {
    "anthropic": {
        "claude-sonnet-5-5": ModelInfo(1_000_000, Price(2.0, 10.0, 0.20, 2.50)),
        "claude-opus-5-5": ModelInfo(1_000_000, Price(4.0, 20.0, 0.20, 5.0)),
        "claude-haiku-5-5": ModelInfo(1_000_000),  # dearer for prompts beyond 100,000 tokens
        "claude-opus-5": ModelInfo(1_000_000, Price(5.0, 25.0, 0.50, 6.25)),
        "claude-sonnet-5": ModelInfo(1_000_000, Price(2.0, 10.0, 0.20, 2.50)),
        "claude-haiku-4-5": ModelInfo(200_000, Price(1.0, 5.0, 0.10, 1.25)),
    },
    "openai": {
        "gpt-5.6-terra": ModelInfo(1_000_000, Price(2.0, 12.0, 0.20)),
        "gpt-5.6-sol": ModelInfo(1_000_000, Price(5.0, 30.0, 0.50)),
        "gpt-5.6-luna": ModelInfo(1_000_000, Price(0.20, 1.20, 0.02)),
        "gpt-5.5": ModelInfo(1_000_000, Price(5.0, 30.0, 0.50)),
        "gpt-5": ModelInfo(400_000, Price(1.25, 10.0, 0.125)),
        "gpt-5-mini": ModelInfo(400_000, Price(0.25, 2.0, 0.025)),
        "gpt-4.1": ModelInfo(1_000_000, Price(2.0, 8.0, 0.50)),
        "gpt-4.1-mini": ModelInfo(1_000_000, Price(0.40, 1.60, 0.10)),
    },
}

_EYES = re.compile(
    r"""vl(?![a-z]) | vision | llava | pixtral | omni | minicpm-[vo] | moondream | multimodal
    | claude-(?!2|instant)
    | chatgpt-4o | gpt-(?:4o|4\.[15]|4-turbo|5|6) | \bo1(?!-mini|-preview) | \bo3(?!-mini) | \bo4
    | gemini | gemma-?[34](?!.*(?:\D1b|270m)) | grok-[4-9]
    | llama-?4 | mistral-(?:small-?3\.[1-9]|medium-?3|large-?3) | qwen-?3\.[5-9] | kimi-k2\.[5-9] | glm-[45][\d.]*v
    """,
    re.VERBOSE,
)
_BLIND = re.compile(
    r"""gpt-(?:3\.5|4(?![\d.])|oss) | \bo1-(?:mini|preview) | \bo3-mini
    | gemma | codellama | llama-?[23] | mistral-(?:7b|nemo) | mixtral | codestral
    | qwen-?[12] | qwen-?3(?!\.) | qwq | coder | deepseek | starcoder | phi-?[23] | kimi-k2 | glm-[45] | command-r
    """,
    re.VERBOSE,
)


def sees(model: str) -> bool | None:
    """Whether a model of that name takes images, by its family; None where that cannot be said."""
    name = model.lower()
    if _EYES.search(name):
        return True
    return False if _BLIND.search(name) else None
