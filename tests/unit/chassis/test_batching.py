"""What waits goes together, what is under way is not disturbed, and each caller gets its own outcome."""

import asyncio
import gc
import time
import weakref

import pytest

from chassis.batching import ENOUGH, FEW, Batcher


class Flushes:
    """Records the batches it gets and holds each until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, batch: list[int]) -> list[int | Exception]:
        self.batches.append(batch)
        await self.gate.wait()
        return [ValueError(item) if item < 0 else item * 10 for item in batch]


async def test_what_comes_during_a_flush_goes_into_the_next_one_together():
    flushes = Flushes()
    batcher = Batcher(flushes)
    first = [asyncio.create_task(batcher.submit(n)) for n in (1, 2)]
    await asyncio.sleep(0.01)
    second = [asyncio.create_task(batcher.submit(n)) for n in (3, 4, 5)]
    await asyncio.sleep(0.01)
    flushes.gate.set()
    assert await asyncio.gather(*first, *second) == [10, 20, 30, 40, 50]
    assert flushes.batches == [[1, 2], [3, 4, 5]]


async def test_many_are_submitted_as_one_by_one_and_share_flushes_with_others():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, limit=3)
    assert await asyncio.gather(batcher.submit(1), batcher.submit_all([2, 3, 4])) == [10, [20, 30, 40]]
    assert flushes.batches == [[1, 2, 3], [4]]
    with pytest.raises(ValueError, match="-1"):
        await batcher.submit_all([1, -1, -2])
    assert await batcher.submit_all([]) == []


async def test_a_batch_is_no_larger_than_its_limit():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, limit=2)
    await asyncio.gather(*[batcher.submit(n) for n in range(5)])
    assert [len(batch) for batch in flushes.batches] == [2, 2, 1]


async def test_even_flushes_share_what_waits_and_what_is_under_way():
    flushes = Flushes()
    batcher = Batcher(flushes, lanes=2, limit=100, even=True)
    for _ in range(2):  # what has ended counts no more
        flushes.batches.clear()
        flushes.gate.clear()
        tasks = [asyncio.create_task(batcher.submit(n)) for n in range(24)]
        await asyncio.sleep(0.01)
        assert [len(batch) for batch in flushes.batches] == [12, 12]
        tasks += [asyncio.create_task(batcher.submit(n)) for n in range(24, 40)]
        await asyncio.sleep(0.01)
        flushes.gate.set()
        assert await asyncio.gather(*tasks) == [10 * n for n in range(40)]
        assert max(map(len, flushes.batches)) < 16


async def test_even_flushes_keep_the_limit_and_do_not_divide_a_few():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, lanes=2, limit=9, even=True)
    await batcher.submit_all(range(40))
    assert max(map(len, flushes.batches)) == 9
    flushes.batches.clear()
    await batcher.submit_all(range(FEW))
    assert [len(batch) for batch in flushes.batches] == [FEW]


async def test_a_flush_that_fails_counts_no_more_for_even_ones():
    async def fail(batch: list[int]) -> list[int | Exception]:
        sizes.append(len(batch))
        raise ValueError

    sizes: list[int] = []
    batcher = Batcher(fail, lanes=2, even=True)
    for _ in range(2):
        await asyncio.gather(*[batcher.submit(n) for n in range(24)], return_exceptions=True)
    assert sizes == [12, 8, 4, 12, 8, 4]


async def test_an_outcome_that_is_an_exception_reaches_its_caller_alone():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes)
    outcomes = await asyncio.gather(batcher.submit(1), batcher.submit(-1), batcher.submit(2), return_exceptions=True)
    assert outcomes[0] == 10
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == 20


async def test_what_was_submitted_to_a_flush_that_fails_is_let_go_without_the_garbage_collector():
    """Thousands of failed requests, each with its body, would otherwise wait for it."""

    class Body:
        pass

    async def refuse(batch: list[Body]) -> list[None]:
        raise ValueError("refused")

    async def submits() -> weakref.ref[Body]:
        body = Body()
        with pytest.raises(ValueError, match="refused"):
            await Batcher(refuse).submit(body)
        return weakref.ref(body)

    gc.disable()
    try:
        body = await submits()
        await asyncio.sleep(0.01)
        assert body() is None
    finally:
        gc.enable()


async def test_a_flush_that_fails_fails_for_all_of_its_callers_and_the_next_one_works():
    calls = 0

    async def flush(batch: list[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("away")
        return batch

    batcher = Batcher(flush)
    outcomes = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError]
    assert await batcher.submit(3) == 3


async def test_a_caller_that_is_cancelled_does_not_cancel_the_flush():
    flushes = Flushes()
    batcher = Batcher(flushes)
    gone, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.sleep(0.01)
    flushes.gate.set()
    assert await stays == 20
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert flushes.batches == [[1, 2]]


async def test_items_of_one_key_never_share_a_flush_and_keep_their_order():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, lanes=2, key=lambda item: item % 2)
    await asyncio.gather(*[batcher.submit(n) for n in (1, 3, 2, 5)])
    assert all(len({item % 2 for item in batch}) == len(batch) for batch in flushes.batches)
    odd = [item for batch in flushes.batches for item in batch if item % 2]
    assert odd == [1, 3, 5]


async def test_a_caller_that_submits_again_in_the_moment_of_its_answer_is_answered_again():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes)

    async def one_after_another() -> list[int]:
        return [await batcher.submit(n) for n in range(3)]

    async with asyncio.timeout(2):
        assert await one_after_another() == [0, 10, 20]


async def test_where_items_come_all_the_time_flushes_keep_their_distance():
    began: list[float] = []

    async def flush(batch: list[int]) -> list[int]:
        began.append(time.monotonic())
        return batch

    batcher = Batcher(flush, lanes=2, pace=0.08)
    asked = []
    for _ in range(100):
        asked.append(asyncio.create_task(batcher.submit(1)))
        await asyncio.sleep(0.006)
        if len(asked) < 5:
            asked.append(asyncio.create_task(batcher.submit_all([1, 2, 3])))
    await asyncio.gather(*asked)
    assert len(began) < 40, "each with its flush, though others come within each look"


async def test_a_few_clients_that_wait_for_their_answers_are_held_up_for_one_look():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, pace=0.4)
    began = time.monotonic()
    for _ in range(10):
        await batcher.submit_all(range(5))
    assert [len(batch) for batch in flushes.batches] == [5] * 10
    assert time.monotonic() - began >= 0.5, "they wait for others"
    assert batcher._paced


async def test_a_single_client_never_waits_however_fast_it_comes():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, pace=60)
    async with asyncio.timeout(10):
        for _ in range(100):
            await batcher.submit(1)
    assert len(flushes.batches) == 100


async def test_enough_of_them_wait_for_nobody():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, pace=60)
    async with asyncio.timeout(10):
        for _ in range(10):
            await batcher.submit_all(range(ENOUGH))
    assert batcher._paced
    assert [len(batch) for batch in flushes.batches] == [ENOUGH] * 10


async def test_where_few_come_they_are_waited_for_no_more():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, pace=0.01)
    await batcher.submit_all(range(4))
    assert batcher._paced
    for _ in range(20):  # each of them waits for others in vain, until that is seen
        await batcher.submit(1)
    assert not batcher._paced


async def test_a_silence_makes_what_was_before_it_forgotten():
    flushes = Flushes()
    flushes.gate.set()
    batcher = Batcher(flushes, pace=0.01)
    await batcher.submit_all(range(100))
    assert batcher._paced
    await asyncio.sleep(0.12)
    await batcher.submit(1)
    assert not batcher._paced
