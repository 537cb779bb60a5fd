"""The filters that ask what the teacher said when it was asked again: votes and checks."""

from __future__ import annotations

import pytest

from chartdistill.curation.filters import (
    Agreement,
    Verification,
)
from chartdistill.schema import Item, ItemCheck, ItemVote, Label
from filter_cases import check, label, reasons


def test_agreement_asks_for_the_votes() -> None:
    items = (Item(text="Yasadol", status="stop"), Item(text="Febenor", status="start"))
    votes = tuple(ItemVote(item=item, support=support, samples=5) for item, support in zip(items, (3, 2), strict=True))
    given = label("Yasadol | stop\nFebenor | start").model_copy(update={"votes": votes})
    assert [one.item and one.item.text for one in check(Agreement(on_item="drop_item"), given)] == ["Febenor"]
    assert reasons(check(Agreement(), given)) == ["low_support"] * 2
    assert check(Agreement(min_support=0.4), given) == []
    assert check(Agreement(), label("Febenor | start")) == []


@pytest.mark.parametrize("supports", [(5, 1), (1, 5)])
def test_an_item_that_one_part_of_a_long_record_agrees_on_is_agreed_on(supports: tuple[int, int]) -> None:
    item = Item(text="Yasadol", status="stop")
    votes = tuple(ItemVote(item=item, support=support, samples=5) for support in supports)
    given = label("Yasadol | stop").model_copy(update={"votes": votes, "windows": ((0, 40), (30, 67))})
    assert check(Agreement(), given) == []
    weak = given.model_copy(update={"votes": votes[:1] if supports[0] == 1 else votes[1:]})
    assert reasons(check(Agreement(on_item="drop_item"), weak)) == ["low_support"]


def test_verification_asks_for_the_checks() -> None:
    def with_check(**said: str | None) -> Label:
        one = ItemCheck.model_validate({"item": {"text": "Yasadol", "status": "stop"}, **said})
        return label("Yasadol | stop").model_copy(update={"checks": (one,)})

    dropping = Verification(on_item="drop_item")
    assert reasons(check(dropping, with_check(answer="no"))) == ["unverified"]
    assert reasons(check(dropping, with_check(answer="unclear"))) == ["unclear"]
    assert check(Verification(on_unclear="keep"), with_check(answer="unclear")) == []
    assert check(dropping, with_check(answer="yes", quote="Yasadol 20 mg was stopped")) == []
    assert reasons(check(dropping, with_check(answer="yes", quote="Take a walk"))) == ["quote_not_in_record"]
    assert check(dropping, label("Yasadol | stop")) == []


@pytest.mark.parametrize("answers", [("yes", "no"), ("no", "yes"), ("unclear", "yes")])
def test_an_item_that_one_part_of_a_long_record_bears_out_is_verified(answers: tuple[str, str]) -> None:
    item = Item(text="Yasadol", status="stop")
    checks = tuple(ItemCheck.model_validate({"item": item, "answer": answer}) for answer in answers)
    given = label("Yasadol | stop").model_copy(update={"checks": checks, "windows": ((0, 40), (30, 67))})
    assert check(Verification(), given) == []
    against = given.model_copy(update={"checks": tuple(one for one in checks if one.answer != "yes")})
    assert len(check(Verification(on_item="drop_item"), against)) == 1
