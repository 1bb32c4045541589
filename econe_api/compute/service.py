"""The compute worker as a process: all that runs beside it, put together and taken down in order."""

from __future__ import annotations

import signal
import threading

from econe_api.compute.backend import ComputeBackend
from econe_api.compute.forgetter import Forgetter
from econe_api.compute.server import Server
from econe_api.compute.worker import Worker
from econe_api.config import Config
from econe_api.images.copier import Copier
from econe_api.images.library import Library
from econe_api.store.store import Store


def work(config: Config, backend: ComputeBackend) -> None:
    """Run the worker with ``backend`` until SIGTERM or SIGINT; raises StoreError, ServerError."""
    store = Store.open(config)
    worker = Worker(store, backend)
    copier = Copier(store, Library.of(config))
    forgetter = Forgetter(store)
    server = Server(config.compute.socket, worker)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    listener = threading.Thread(target=server.serve_forever, name="compute-socket")
    listener.start()
    copier.start()
    forgetter.start()
    try:
        worker.run()
    finally:
        server.shutdown()
        listener.join()
        copier.stop()
        forgetter.stop()
        server.server_close()
        store.close()
