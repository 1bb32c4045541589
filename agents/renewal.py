"""Keeps the host's certificate good: asks for a new one in time, by the channel that the present one has opened.

Lives in the agent's one loop: :meth:`Renewal.run` does what can be done now, :attr:`Renewal.deadline` says when next.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from agents.report import Link
from agents.rows import SslRow
from agents.session import Message
from certificates import contexts
from certificates.authority import due, new_key, request
from certificates.files import Credentials, FilesError, HostFolder

_LOG = logging.getLogger(__name__)

_LOOK_S = 60.0
_ANSWER_S = 60.0
_RETRY_S = 300.0
_WORRY = timedelta(days=14)


class Renewal:
    """The certificate of ``host`` in ``folder``; ``clock`` is the time of day.

    Raises :class:`certificates.files.FilesError` when there is none, or it is another host's.
    """

    def __init__(
        self, folder: HostFolder, host: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._folder = folder
        self._host = host
        self._clock = clock
        self._next = 0.0
        self._key: bytes | None = None  # of the request under way
        self.credentials = self._present()

    @property
    def files(self) -> SslRow:
        """What Open vSwitch shall use."""
        own = self.credentials
        return SslRow(str(own.key.absolute()), str(own.certificate.absolute()), str(own.authority.absolute()))

    def context(self) -> ssl.SSLContext:
        """What TLS needs now; raises FilesError."""
        return contexts.client(self.credentials)

    @property
    def problem(self) -> str | None:
        """What is to be said when the certificate nears its end and no new one came."""
        end = self._holder.until
        if self._clock() < end - _WORRY:
            return None
        return f"its certificate ends at {end:%Y-%m-%d %H:%M} UTC; if it is not renewed by then: 'sluice host token'"

    def run(self, link: Link, now: float) -> None:
        """Do what can be done without waiting, at ``now`` on the monotonic clock."""
        link.on_renewed = self._take
        if now < self._next:
            return
        self._next = now + _LOOK_S
        if self._clock() < due(self._holder, self._clock()):
            return
        self._key = new_key()
        asked = link.ask({"type": "renew", "request": request(self._key, self._host)})
        self._next = now + (_ANSWER_S if asked else _LOOK_S)

    @property
    def deadline(self) -> float:
        """When :meth:`run` is due at the latest, on the monotonic clock."""
        return self._next

    def _present(self) -> Credentials:
        found = self._folder.current()
        if found is None:
            raise FilesError(f"{self._folder.folder} holds no certificate yet; join with 'sluice agent join TOKEN'")
        self._holder = found.holder()
        if self._holder.name != self._host:
            raise FilesError(
                f"{found.certificate} is host {self._holder.name}'s, not {self._host}'s; join anew, or mend the name"
            )
        contexts.client(found)  # which says what is wrong with the files
        return found

    def _take(self, message: Message) -> None:
        key, self._key = self._key, None
        if key is None:
            return
        certificate, authority = message.get("certificate"), message.get("authority")
        if not isinstance(certificate, bytes) or not isinstance(authority, bytes):
            _LOG.warning("no new certificate: %s", str(message.get("error"))[:300])
            self._next = time.monotonic() + _RETRY_S
            return
        try:
            self._folder.take(certificate, key, authority)
            self.credentials = self._present()
        except FilesError as error:
            _LOG.warning("the new certificate cannot be used: %s", error)
            self._next = time.monotonic() + _RETRY_S
            return
        _LOG.info("new certificate, good until %s", self._holder.until)
