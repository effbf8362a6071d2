"""Messages wait for a place to arrive."""

import asyncio

import pytest

from app.protocols.grpc import arrivals
from app.protocols.grpc.arrivals import ArrivalGate

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Tests run on asyncio."""
    return "asyncio"


class Sender:
    """A message that arrives until it is told to end."""

    def __init__(self, gate: ArrivalGate, client: str) -> None:
        """Begin to send."""
        self.arrives, self.ends = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._send(gate, client))
        self.gave_up = False

    async def _send(self, gate: ArrivalGate, client: str) -> None:
        async with gate.place(client, self._give_up):
            self.arrives.set()
            await self.ends.wait()

    def _give_up(self) -> None:
        self.gave_up = True
        self.task.cancel()

    async def end(self) -> None:
        """End the message."""
        self.ends.set()
        await self.task


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_oldest_waiting_message_gets_the_free_place() -> None:
    """With two places, the third message waits; a cancelled one leaves the queue."""
    gate = ArrivalGate(2)
    one, two, three, four = (Sender(gate, str(number)) for number in range(4))
    await _settled()
    assert [each.arrives.is_set() for each in (one, two, three, four)] == [True, True, False, False]
    three.task.cancel()
    await two.end()
    await _settled()
    assert four.arrives.is_set()
    for each in (one, four):
        await each.end()


async def test_one_client_leaves_half_of_the_places() -> None:
    """A crowd of one client does not keep another one waiting."""
    gate = ArrivalGate(4)
    crowd = [Sender(gate, "crowd") for _ in range(5)]
    other = Sender(gate, "other")
    await _settled()
    assert [each.arrives.is_set() for each in crowd] == [True, True, False, False, False]
    assert other.arrives.is_set()
    for each in crowd:
        each.task.cancel()
    await other.end()


async def test_slow_message_loses_its_place_to_one_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message that never ends keeps its place only as long as nobody waits for it."""
    monkeypatch.setattr(arrivals, "FREE_S", 0.0)
    monkeypatch.setattr(arrivals, "POLL_S", 0.01)
    gate = ArrivalGate(2)
    slow, also_slow = Sender(gate, "a"), Sender(gate, "b")
    await asyncio.sleep(0.05)
    assert not slow.gave_up
    waiting = Sender(gate, "a")  # the place of `also_slow` is not for this client
    await asyncio.wait_for(waiting.arrives.wait(), 5)
    assert (slow.gave_up, also_slow.gave_up) == (True, False)
    for each in (also_slow, waiting):
        await each.end()
