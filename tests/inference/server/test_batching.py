"""Batches keep the order, stay within their size, and forget what nobody waits for."""

from __future__ import annotations

import asyncio
import threading

from dlworkflow.inference.server.batching import Batches


def gathered(*lists, size=4, work=None):
    """Return the batches that were worked on, and the answers for each list of items, asked for at once."""
    worked = []

    def double(items):
        worked.append(list(items))
        return [2 * item for item in items]

    async def run():
        batches = Batches(work or double, size)
        return await asyncio.gather(*map(batches.answers, lists), return_exceptions=True)

    return worked, asyncio.run(run())


def test_each_gets_the_answers_for_its_own_items():
    assert gathered([1, 2], [3], [4])[1] == [[2, 4], [6], [8]]


def test_a_batch_is_no_larger_than_its_size():
    assert gathered([1, 2, 3], [4, 5], [6], size=3)[0] == [[1, 2, 3], [4, 5, 6]]


def test_more_than_a_batch_is_worked_on_in_several():
    assert gathered(list(range(7)), size=3) == ([[0, 1, 2], [3, 4, 5], [6]], [[0, 2, 4, 6, 8, 10, 12]])


def test_nothing_is_no_work():
    assert gathered([]) == ([], [[]])


def test_an_error_is_that_of_each_in_the_batch():
    def fail(items):
        raise ValueError("no")

    assert [str(error) for error in gathered([1], [2], work=fail)[1]] == ["no", "no"]


def test_items_that_nobody_waits_for_any_more_are_dropped():
    worked, gate = [], threading.Event()

    def work(items):
        worked.append(list(items))
        gate.wait(10)
        return items

    async def run():
        batches = Batches(work, 1)
        first, second, third = (asyncio.create_task(batches.answers([number])) for number in (1, 2, 3))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(first, third)

    assert asyncio.run(run()) == [[1], [3]]
    assert worked == [[1], [3]]
