"""Several engines of one model side by side on one machine: each with its own cards, or its share of the cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from chartdistill.engines.openai_engine import OpenAIEngine
from chartdistill.engines.process_variables import THREADS_GIVEN, num_cores
from chartdistill.engines.transformers_engine import TransformersEngine
from chartdistill.engines.vllm_engine import VllmEngine
from chartdistill.errors import ConfigError


@dataclass(frozen=True)
class Replica:
    """Engine `index` (from 0) of `count`."""

    index: int
    count: int
    cards: tuple[str, ...] = ()
    """As CUDA_VISIBLE_DEVICES names them; empty on a CPU."""

    def __str__(self) -> str:
        if not self.cards:
            return f"engine {self.index + 1} of {self.count}"
        return f"card{'' if len(self.cards) == 1 else 's'} {','.join(self.cards)}"

    def variables(self) -> dict[str, str]:
        """What the process of this engine is told: it sees no other card, and takes no other's cores."""
        if self.cards:
            return {"CUDA_VISIBLE_DEVICES": ",".join(self.cards)}
        return {THREADS_GIVEN: str(max(1, num_cores() // self.count))}


def replicas_of(engine: VllmEngine | OpenAIEngine | TransformersEngine) -> list[Replica]:
    """The engines that work side by side here by `engine.replicas`; one where endpoints answer.

    Raises:
        ConfigError: more are wanted than there are cards for.
    """
    if isinstance(engine, OpenAIEngine):
        if engine.urls:
            return [Replica(0, 1)]
        engine = engine.serve
    return divide_cards(visible_cards(), num_cards_each(engine), engine.replicas)


def num_cards_each(engine: VllmEngine | TransformersEngine) -> int:
    """Cards that one engine takes."""
    return engine.tensor_parallel_size if isinstance(engine, VllmEngine) else 1


def num_cards(engine: VllmEngine | OpenAIEngine | TransformersEngine) -> int:
    """Cards that the engines of a model take together here; 0 on a CPU, and where endpoints answer."""
    return sum(len(replica.cards) for replica in replicas_of(engine))


def divide_cards(cards: Sequence[str], each: int, wanted: int | str) -> list[Replica]:
    """Engines with `each` cards, in the order of the cards; cards left over by the division stay idle.

    Args:
        cards: names; empty for a CPU.
        wanted: `engine.replicas`, a number or `auto`.
    """
    count = (max(1, len(cards) // each) if cards else 1) if isinstance(wanted, str) else wanted
    if cards and count > 1 and count * each > len(cards):
        raise ConfigError(
            f"engine.replicas is {count} with {each} card{'' if each == 1 else 's'} each, and {len(cards)} are here "
            f"({','.join(cards)}). Set it to {max(1, len(cards) // each)} or to auto."
        )
    return [Replica(i, count, tuple(cards[i * each : (i + 1) * each])) for i in range(count)]


def visible_cards() -> list[str]:
    """The cards that this process may use, as CUDA_VISIBLE_DEVICES names them. CUDA is not started for it."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(count)] if named is None else [part.strip() for part in named.split(",")]
    return names[:count]  # CUDA ends its list at the first name that it does not know
