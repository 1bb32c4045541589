"""Writes that come at once go into one transaction, and fail together."""

import threading

import pytest
from sqlalchemy import func, select

from econe_api.compute import rows
from econe_api.compute.ledger import Ledger
from econe_api.store.schema import audit

pytestmark = pytest.mark.lab


def transactions(store):
    with store.read(rows.worker_call()) as txn:
        return txn.connection.scalar(select(func.count()).select_from(audit))


def in_threads(*steps):
    threads = [threading.Thread(target=step) for step in steps]
    for thread in threads:
        thread.start()
    return threads


def test_whoever_comes_meanwhile_shares_the_next_transaction(store, until):
    ledger, busy, go_on, done = Ledger(store), threading.Event(), threading.Event(), []

    def slow(_txn):
        busy.set()
        assert go_on.wait(30)

    before = transactions(store)
    threads = in_threads(lambda: ledger.write(slow))
    assert busy.wait(30)
    threads += in_threads(
        *[lambda number=number: ledger.write(lambda _txn: done.append(number)) for number in range(5)]
    )
    until(lambda: len(ledger._entries) == 5)
    assert done == []
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert transactions(store) == before + 2


def test_a_change_that_fails_is_told_to_whoever_wrote_it(store):
    ledger = Ledger(store)
    with pytest.raises(ZeroDivisionError):
        ledger.write(lambda _txn: 1 / 0)
    done = []
    ledger.write(lambda _txn: done.append(1))
    assert done == [1]
