"""Leases: what is dead or slow costs only its lease, and nothing depends on who computes what."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.errors import EvaluationFailed
from vlbench.runner.leases import DEATHS, LARGEST, PATIENCE_SECONDS, Leases
from vlbench.runner.plan import Batch, plan
from vlbench.types import EmbedText


def batches(count: int, size: int = 2) -> list[Batch]:
    return list(plan([EmbedText(f"{i:04}") for i in range(count * size)], lambda _: size))


def test_leases_are_small_and_become_smaller() -> None:
    leases = Leases(batches(40))
    sizes = []
    while taken := leases.take(len(sizes), 2, 0.0):
        sizes.append(len(taken))
    assert sum(sizes) == 40 and sizes[0] == LARGEST and sizes == sorted(sizes, reverse=True) and sizes[-1] == 1


def test_a_dead_worker_costs_only_what_it_had_not_finished() -> None:
    leases = Leases(batches(20))
    first = leases.take(0, 2, 0.0)
    assert leases.finished(first[0].key, 1.0) == first[0]
    leases.died(0, "was killed")
    assert [batch.key for batch in leases.take(1, 1, 2.0)][: len(first) - 1] == [batch.key for batch in first[1:]]


def test_a_slow_workers_lease_is_given_to_an_idle_one_and_the_first_answer_counts() -> None:
    leases = Leases(batches(2))
    (slow,) = leases.take(0, 2, 0.0)
    (fast,) = leases.take(1, 2, 0.0)
    leases.finished(fast.key, 0.5)
    leases.ended(1)
    assert leases.take(1, 2, 1.0) == [] and not leases.done
    assert leases.take(1, 2, PATIENCE_SECONDS + 1) == [slow]
    assert leases.take(2, 3, PATIENCE_SECONDS + 9) == [], "two compute it already"
    assert leases.finished(slow.key, 4.0) == slow and leases.done
    assert leases.finished(slow.key, 5.0) is None


def test_a_split_batch_goes_on_in_halves_elsewhere() -> None:
    leases = Leases(batches(1, size=4))
    (whole,) = leases.take(0, 1, 0.0)
    left, right = whole.halves()
    assert leases.split(whole.key) == whole and leases.split(whole.key) is None
    assert leases.finished(left.key, 1.0) == left
    leases.died(0, "was killed")
    assert leases.take(1, 1, 2.0) == [right]
    assert leases.finished(whole.key, 3.0) is None and not leases.done
    assert leases.finished(right.key, 3.0) == right and leases.done


def test_a_batch_over_which_worker_after_worker_dies_ends_the_run() -> None:
    leases = Leases(batches(1))
    for worker in range(DEATHS - 1):
        leases.take(worker, 1, 0.0)
        leases.died(worker, "worker was killed by SIGSEGV")
    leases.take(9, 1, 0.0)
    with pytest.raises(EvaluationFailed, match=r"3 workers died over one batch of 2 embed_texts .*SIGSEGV"):
        leases.died(9, "worker was killed by SIGSEGV")


@settings(max_examples=80, deadline=None)
@given(count=st.integers(0, 30), workers=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_every_batch_is_finished_once_whatever_workers_do(count: int, workers: int, seed: int) -> None:
    """Workers answer, are slow, split batches, join late and die in any order; each request is answered once."""
    moves = random.Random(seed)
    every = batches(count, size=4)
    leases = Leases(every)
    todo: dict[int, list[Batch]] = {}
    answered: list[str] = []
    now = 0.0
    for step in range(5000):
        if leases.done:
            break
        now += moves.random()
        worker = moves.randrange(min(workers, 1 + step // 5))
        held = todo.get(worker)
        if held is None:
            taken = leases.take(worker, workers, now)
            if taken:
                todo[worker] = list(taken)
        elif not held:
            leases.ended(worker)
            del todo[worker]
        elif moves.random() < 0.02 and sum(leases._deaths.values()) < DEATHS - 1:
            leases.died(worker, "gone")
            del todo[worker]
        elif moves.random() < 0.1 and len(held[0].requests) > 1:
            leases.split(held[0].key)
            todo[worker] = [*held[0].halves(), *held[1:]]
        elif moves.random() < 0.8:
            batch = leases.finished(held.pop(0).key, now)
            if batch is not None:
                answered += [request.key for request in batch.requests]
    assert leases.done
    assert sorted(answered) == sorted(request.key for batch in every for request in batch.requests)
