"""Many writers at once: nothing given out twice, and a follower misses nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from econe_api.call import Call, Caller
from econe_api.config import Config
from econe_api.store.feed import Feed
from econe_api.store.records import Kind
from econe_api.store.store import Store

THREADS = 50
ROUNDS = 4
CALL = Call("AllocateAddress", {}, Caller("123456789012", "AKIAEXAMPLE"), "r-1")


class Follower(threading.Thread):
    """Polls the feed from revision 0 on, as a controller does, until it is told that no more will come."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._feed = Feed(store.engine)
        self.over = threading.Event()
        self.revisions = [0]
        self.seen: list[str] = []

    def run(self) -> None:
        last_round = False
        while True:
            batch = self._feed.since(self.revisions[-1])
            if batch.revision > self.revisions[-1]:
                self.revisions.append(batch.revision)
                self.seen += [change.key for change in batch.changes]
            if last_round:
                return
            last_round = self.over.is_set()


def test_fifty_writers_get_fifty_numbers_and_a_follower_sees_all(config: Config, store: Store) -> None:
    # Two stores = two processes' worth of locks, so that the database itself has to keep the writers apart.
    stores = [store, Store.open(config)]
    start = threading.Barrier(THREADS)
    follower = Follower(store)
    follower.start()

    def write(worker: int) -> list[tuple[int, int | None]]:
        start.wait(timeout=60)
        made = []
        for _ in range(ROUNDS):
            with stores[worker % 2].write(CALL) as txn:
                number = txn.next_number("things")
                txn.touch(Kind.GROUP, f"thing-{number}")
            made.append((number, txn.revision))
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        made = [pair for pairs in pool.map(write, range(THREADS)) for pair in pairs]
    follower.over.set()
    follower.join(timeout=60)
    stores[1].close()

    assert sorted(made) == [(number, number) for number in range(1, THREADS * ROUNDS + 1)]
    assert sorted(follower.seen) == sorted(f"thing-{number}" for number, _ in made)
    assert follower.revisions == sorted(set(follower.revisions))
    assert follower.revisions[-1] == store.revision() == THREADS * ROUNDS
    assert len(follower.revisions) > 2, "the follower was to run among the writers"
