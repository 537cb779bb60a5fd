"""Record + question -> token ids: the one place, used by label, train, evaluate and predict.

Layout of every prompt (record first, question last, so that all questions of a record share one prefix):

    [control ids, system text, control ids, record text] [question text, control ids] [answer text, end id]
     `---------------- prefix ------------------------'   `------- branch ---------'   `---- answer ----'

Worked examples, where there are any, are turns between system text and record: the same ids in every prompt of a run.

The chat template is rendered once around sentinels and cut at them. Its own text is encoded with control
tokens; record, question and answer are encoded as plain text, so a chart that contains `<|im_end|>`, `<s>` or
a fake turn cannot become a control token. The three parts are encoded apart and joined as ids: the prefix of
one record is the same ids for every question, whatever the tokenizer would have merged across the seam.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.prompting.chat_template import TemplateCut, cut_template
from chartdistill.prompting.worked_examples import Turn
from chartdistill.schema import content_hash

QUESTION_SEPARATOR = "\n\n"
"""Between the record and its question. Belongs to the branch, never to the prefix."""


@dataclass(frozen=True)
class PromptBuilder:
    """Builds token ids for one tokenizer and one system text.

    Make it with :meth:`from_tokenizer`. All methods return plain lists of ids, without padding.
    """

    tokenizer: Any
    head_ids: tuple[int, ...]
    """Everything before the record text, worked examples included."""
    tail_ids: tuple[int, ...]
    """Everything between the question and the answer."""
    end_id: int
    """The id that ends an answer; engines stop at it."""
    system: str
    cut: TemplateCut
    """What the chat template made of it."""
    turns: tuple[Turn, ...] = ()
    """Worked examples before every record."""
    num_example_tokens: int = 0
    """Ids of `head_ids` that are there because of them."""
    _control: re.Pattern[str] | None = field(repr=False, default=None)
    _control_ids: frozenset[int] = field(repr=False, default=frozenset())

    @classmethod
    def from_tokenizer(
        cls,
        tokenizer: Any,
        system: str,
        template_options: dict[str, Any] | None = None,
        turns: Sequence[Turn] = (),
    ) -> PromptBuilder:
        """Cut the tokenizer's chat template into head, tail and end.

        `template_options` go to the template (for example `{"enable_thinking": False}`); `turns` stand before every
        record.

        Raises:
            ModelError: no chat template, or one that drops, repeats or reorders the user's text or the turns, or drops
                the system text.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, so a question cannot be put to "
                "this model. Use a chat-tuned model (one whose tokenizer_config.json or chat_template.jinja has a "
                "template), or add a chat_template.jinja to its folder."
            )
        cut = cut_template(tokenizer, system, template_options or {}, len(turns))
        control_ids = {
            token_id for token_id, token in tokenizer.added_tokens_decoder.items() if str(token.content).strip()
        }
        control_ids.update(tokenizer.all_special_ids)
        end_id = next((i for i in _ids(tokenizer, cut.after_answer) if i in control_ids), tokenizer.eos_token_id)
        if end_id is None:
            raise ModelError(
                f"the chat template of {tokenizer.name_or_path!r} ends an answer without a control token and the "
                "tokenizer has no eos token, so an answer could never stop. Set eos_token in tokenizer_config.json."
            )
        spellings = sorted(
            (str(t.content) for i, t in tokenizer.added_tokens_decoder.items() if i in control_ids),
            key=len,
            reverse=True,
        )
        control = re.compile("|".join(re.escape(s) for s in spellings if len(s) > 1)) if spellings else None
        plain = cls(
            tokenizer=tokenizer,
            head_ids=tuple(_ids(tokenizer, cut.head)),
            tail_ids=tuple(_ids(tokenizer, cut.tail)),
            end_id=int(end_id),
            system=system,
            cut=cut,
            _control=control,
            _control_ids=frozenset(control_ids),
        )
        return plain._with_turns(tuple(turns)) if turns else plain

    def _with_turns(self, turns: tuple[Turn, ...]) -> PromptBuilder:
        """The same with worked examples: their texts are encoded as those of records, questions and answers are."""
        texts = [ids for turn in turns for ids in (self._asked(turn), self.plain(turn.answer))]
        before, *between = (_ids(self.tokenizer, piece) for piece in self.cut.around_turns)
        head = [*before, *(i for text, behind in zip(texts, between, strict=True) for i in (*text, *behind))]
        return replace(self, head_ids=tuple(head), turns=turns, num_example_tokens=len(head) - len(self.head_ids))

    def _asked(self, turn: Turn) -> list[int]:
        if turn.chart is None:
            return self.plain(turn.question)
        return [*self.plain(turn.chart), *self.plain(QUESTION_SEPARATOR + turn.question)]

    @property
    def examples_mark(self) -> str | None:
        """Hash of the worked examples in every prompt; None where there are none."""
        return content_hash([(turn.chart, turn.question, turn.answer) for turn in self.turns]) if self.turns else None

    def plain(self, text: str) -> list[int]:
        """Encode text that must not contain control tokens, whatever it spells.

        A spelling of a control token is encoded in two halves, which no tokenizer joins again.
        """
        cuts = [0]
        if self._control is not None:
            cuts += [match.start() + (match.end() - match.start()) // 2 for match in self._control.finditer(text)]
        cuts.append(len(text))
        ids = [i for start, end in pairwise(cuts) for i in _ids(self.tokenizer, text[start:end])]
        if not self._control_ids.isdisjoint(ids):
            raise ModelError(
                f"the tokenizer of {self.tokenizer.name_or_path!r} turned plain record text into control tokens "
                f"{sorted(self._control_ids.intersection(ids))}; records with such text cannot be used with it."
            )
        return ids

    def prefix(self, record_text: str) -> list[int]:
        """Ids shared by every question about this record."""
        return [*self.head_ids, *self.plain(record_text)]

    def branch(self, question: str) -> list[int]:
        """Ids of one question, up to the point where the answer begins."""
        return [*self.plain(QUESTION_SEPARATOR + question), *self.tail_ids]

    def prompt(self, record_text: str, question: str) -> list[int]:
        """`prefix + branch`."""
        return self.prefix(record_text) + self.branch(question)

    def messages(self, record_text: str, question: str) -> tuple[tuple[str, str], ...]:
        """The prompt as (role, content), for endpoints that take no token ids."""
        said: list[tuple[str, str]] = []
        for turn in self.turns:
            about = "" if turn.chart is None else turn.chart + QUESTION_SEPARATOR
            said += [("user", about + turn.question), ("assistant", turn.answer)]
        said.append(("user", record_text + QUESTION_SEPARATOR + question))
        if self.cut.system_in_user:  # the endpoint's template would refuse a system turn, or leave it out
            return ("user", f"{self.system}\n\n{said[0][1]}"), *said[1:]
        return ("system", self.system), *said

    def answer(self, text: str) -> list[int]:
        """Ids of an answer, with the id that ends it."""
        return [*self.plain(text), self.end_id]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False)) if text else []
