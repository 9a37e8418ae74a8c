"""What is known of models by their names: list prices, and how long a conversation they take. Editable: what the
configuration file says of a model comes before this.

As the services published them in November 2026: platform.claude.com/docs/en/about-claude/pricing and
developers.openai.com/api/docs/pricing; the standard rate, without surcharges for long prompts. A model whose price is
more than a few numbers has none here, and a model that is not here has none: a cost that is not known is null, never a
guess.
"""

from __future__ import annotations

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
