"""Which endpoint is asked what."""

from __future__ import annotations

from chartdistill.engines.routing import Router


def test_the_questions_of_a_record_go_to_one_endpoint_and_records_are_shared_out() -> None:
    system, router = list(range(300)), Router(["a", "b", "c"])
    records = [[1000 + r] * 200 for r in range(30)]
    prompts = [[*system, *record, 7, question] for record in records for question in range(4)]
    router.learn_shared(prompts)
    first = [router.route(prompt) for prompt in prompts]
    by_record = [set(first[i : i + 4]) for i in range(0, len(first), 4)]
    assert all(len(where) == 1 for where in by_record)
    assert sorted(first.count(name) for name in "abc") == [40, 40, 40]
    # A later step about the same records goes where each record is.
    later = [router.route([*system, *record, 8, 8]) for record in records]
    assert [{where} for where in later] == by_record
    router.drop("a")
    assert "a" not in {router.route(prompt) for prompt in prompts}
