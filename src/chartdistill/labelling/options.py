"""How the teacher labels: what a config may say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chartdistill.labelling.constraint import SPANS, Constraint
from chartdistill.prompting.chart_spans import GRAMMAR_VERSION

Strategy = Literal["chain", "direct", "verify"]


class ThinkingOptions(BaseModel):
    """What a teacher that thinks before it answers is given, and what becomes of its thoughts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(default=2048, ge=8)
    """Room for one thought, beside that for the answer. One that is cut is thought again with four times as much; cut
    again, the label is a failure `thought_cut`."""
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of thoughts; None: as that of the answer. Some models repeat themselves for ever at 0."""
    keep: bool = False
    """Write the thoughts to labels/thoughts.jsonl, which must be handled like the charts."""
    rationale: bool = False
    """Also give each line of train.jsonl whose answer is the teacher's own its thought as `rationale`, for other tools:
    `train` teaches answers only."""

    @property
    def are_kept(self) -> bool:
        """Whether thoughts are written at all."""
        return self.keep or self.rationale


class LabelOptions(BaseModel):
    """How the teacher labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "chain"
    """chain: gate question, then the extraction question after a yes. direct: the consolidated question. verify:
    chain, then one check per item."""
    strategy_by_task: dict[str, Strategy] = {}
    """Task name -> strategy, where it is another one."""
    samples: int = Field(default=1, ge=1, le=64)
    """Answers drawn per list question; more than one are put to an item-level vote."""
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Of the list answers; above 0 where `samples` is. Gates and checks are always at 0."""
    seed: int = 0
    constrain: Constraint = True
    """true: only text of the answer format can be generated. spans: and only items that are words of the chart. false:
    whatever the teacher says, for the filters to judge."""
    confidence: bool = False
    """Keep the mean log-probability of each item's tokens (always kept when there is a vote)."""
    top_logprobs: int = Field(default=0, ge=0, le=64)
    """Keep this many of the most likely tokens at each token of the answer, for the distillation loss."""
    max_answer_tokens: int = Field(default=256, ge=8)
    """Room for an answer. A cut answer is asked again with four times as much, then kept as cut and rejected."""
    thinking: ThinkingOptions | None = Field(default=None, exclude_if=lambda thinking: thinking is None)
    """For a teacher that thinks before each answer. None: as by default where it is told to (template_options:
    {enable_thinking: true}) or its template opens a thought in every prompt; others are asked for none."""
    window_tokens: int | None = Field(default=None, ge=32)
    """A record with more tokens than this is read in overlapping chunks, and their items are merged. None: never;
    a record the engine cannot take is then a failure `prompt_too_long`."""
    window_overlap_tokens: int = Field(default=128, ge=0)
    """Tokens a chunk repeats of the one before."""
    records_per_window: int = Field(default=256, ge=1)
    """Records in the engine at once, at most. Finished windows survive a kill."""
    windows_in_flight: Literal["auto", 1, 2] = "auto"
    """2: the lists of a window go to the engine with the gates of the next, so that no step waits for its longest
    answer alone; each window may then fill half of the cache. 1: a window after the other. auto: 2 on a card and with
    endpoints, where prompts and answers are computed side by side, 1 on a CPU."""
    max_failure_fraction: float = Field(default=0.05, ge=0, le=1)
    """Above this share of failed labels, of all that the run has by then, the verb stops with an error."""

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                "samples is above 1 at temperature 0: all samples would be alike; set temperature, e.g. 0.7"
            )
        if self.samples > 1 and self.top_logprobs:
            raise ValueError("top_logprobs needs samples: 1; a vote has no token probabilities of its own")
        if self.samples > 1 and self.thinking is not None and self.thinking.rationale:
            raise ValueError("thinking.rationale needs samples: 1; a vote was not thought of by anybody")
        if self.window_tokens is not None and self.window_overlap_tokens >= self.window_tokens:
            raise ValueError("window_overlap_tokens must be smaller than window_tokens")
        return self

    @property
    def gives_rationales(self) -> bool:
        """Whether train.jsonl has the teacher's thoughts."""
        return self.thinking is not None and self.thinking.rationale

    def strategy_of(self, task: str) -> Strategy:
        """The strategy of one task."""
        return self.strategy_by_task.get(task, self.strategy)

    def constrains(self, tasks: Iterable[str]) -> bool:
        """Whether any answer of these tasks is held to a format while it is written; gates and checks always are."""
        return bool(self.constrain) or any(self.strategy_of(task) != "direct" for task in tasks)

    def what_determines_an_answer(self, task: str) -> dict[str, Any]:
        """The options that a label of this task depends on."""
        operational = {
            "strategy",
            "strategy_by_task",
            "records_per_window",
            "windows_in_flight",
            "max_failure_fraction",
        }
        spans = {"spans": GRAMMAR_VERSION} if self.constrain == SPANS else {}
        return {**self.model_dump(exclude=operational), "strategy": self.strategy_of(task), **spans}
