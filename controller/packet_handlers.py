"""Who answers which packets: handlers by the number of the table that sends them to the controller."""

from __future__ import annotations

from controller.packet_in import Handler

HANDLERS: dict[int, Handler] = {}
