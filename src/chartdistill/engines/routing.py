"""Which of several endpoints gets a prompt: the one whose prefix cache holds its record, else the least loaded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

_BLOCK_TOKENS = 16
_BLOCKS_REMEMBERED = 200_000


class Router:
    """Remembers, in blocks of 16 tokens, which endpoint saw which prompt prefix.

    What all prompts share (the system text) is known to every endpoint sooner or later and decides nothing. A prompt
    goes where at least half of its other blocks were seen; other prompts go where the fewest tokens went.
    """

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._load: dict[str, int] = dict.fromkeys(endpoints, 0)
        self._seen: OrderedDict[int, str] = OrderedDict()
        self._shared: list[int] | None = None

    @property
    def alive(self) -> list[str]:
        """Endpoints that still get prompts."""
        return list(self._load)

    def drop(self, endpoint: str) -> None:
        """Send nothing to this endpoint any more."""
        self._load.pop(endpoint, None)

    def learn_shared(self, prompts: Sequence[Sequence[int]]) -> None:
        """Take note of the prefix that all prompts share, before they are routed."""
        for prompt in prompts:
            if self._shared is None:
                self._shared = list(prompt)
                continue
            length = min(len(self._shared), len(prompt))
            if self._shared[:length] != list(prompt[:length]):
                length = next(i for i in range(length) if self._shared[i] != prompt[i])
            del self._shared[length:]

    def route(self, prompt: Sequence[int]) -> str:
        """The endpoint for a prompt; at least one must be alive."""
        blocks = _prefix_hashes(prompt)
        common = len(self._shared or ()) // _BLOCK_TOKENS
        known = 0
        while known < len(blocks) and blocks[known] in self._seen:
            known += 1
        where = self._seen[blocks[known - 1]] if known > common else None
        if where not in self._load or 2 * (known - common) < len(blocks) - common:
            where = min(self._load, key=self._load.__getitem__)
        self._load[where] += len(prompt)
        for block in blocks[common:]:
            self._seen[block] = where
            self._seen.move_to_end(block)
        for block in blocks[:common]:
            self._seen.setdefault(block, where)
        while len(self._seen) > _BLOCKS_REMEMBERED:
            self._seen.popitem(last=False)
        return where


def _prefix_hashes(prompt: Sequence[int]) -> list[int]:
    """One hash per full block, of everything up to its end."""
    hashes, before = [], 0
    for end in range(_BLOCK_TOKENS, len(prompt) + 1, _BLOCK_TOKENS):
        before = hash((before, *prompt[end - _BLOCK_TOKENS : end]))
        hashes.append(before)
    return hashes
