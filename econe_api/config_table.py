"""Reads one table of a TOML document strictly: right types, right ranges, no key that nobody asked for."""

from __future__ import annotations

import difflib
import ipaddress
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_WORDS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    dict: "a table",
    list: "an array",
}


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line that names file, key and mend.

    ``key`` is the place, such as ``api.bind`` or ``hypervisor[2].name``; "" when the file as a whole is meant.
    """

    def __init__(self, text: str, key: str = "") -> None:
        super().__init__(text)
        self.key = key


class Table:
    """One TOML table.  Every getter notes its key; :meth:`finish` then refuses the keys that nobody asked for.

    ``origin`` names the document and ``name`` the table in errors ("" = the document itself); relative paths count
    from ``base``.  A getter without a default refuses a missing key.
    """

    def __init__(self, content: Mapping[str, Any], origin: str, name: str, base: Path) -> None:
        self._content = content
        self._origin = origin
        self._name = name
        self._known: list[str] = []
        self.base = base

    def error(self, key: str, what: str, mend: str) -> ConfigError:
        """Return an error about ``key`` of this table."""
        where = f"{self._name}.{key}" if self._name else key
        return ConfigError(f"{self._origin}: {where}: {what}; {mend}", where)

    def text(self, key: str, default: str | None = None, longest: int = 1024) -> str:
        """Return a string of 1 to ``longest`` printable characters."""
        value = self._get(key, default, "a string")
        if not isinstance(value, str):
            raise self._type_error(key, value, "a string")
        if not value or len(value) > longest or not value.isprintable():
            raise self.error(key, "is not usable text", f"write 1 to {longest} printable characters")
        return value

    def integer(self, key: str, default: int | None = None, *, least: int, most: int) -> int:
        """Return an integer from ``least`` to ``most``."""
        value = self._get(key, default, "an integer")
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._type_error(key, value, "an integer")
        if not least <= value <= most:
            raise self.error(key, f"{value} is out of range", f"write a number from {least} to {most}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(key, default, "true or false")
        if not isinstance(value, bool):
            raise self._type_error(key, value, "true or false")
        return value

    def seconds(self, key: str, default: float) -> float:
        """Return a duration in seconds, 0 to one day."""
        value = self._get(key, default, "a number")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._type_error(key, value, "a number of seconds")
        if not math.isfinite(value) or not 0 <= value <= 86400:
            raise self.error(key, f"{value} is out of range", "write 0 to 86400 seconds")
        return float(value)

    def path(self, key: str, default: Path) -> Path:
        """Return an absolute path; a relative one counts from :attr:`base`."""
        return self.base / self.text(key, str(default), longest=4096)

    def optional_path(self, key: str) -> Path | None:
        """Return an absolute path, None when it is missing; a relative one counts from :attr:`base`."""
        if key in self._content:
            return self.base / self.text(key, longest=4096)
        self._known.append(key)
        return None

    def endpoint(self, key: str, default: str) -> str:
        """Return HOST:PORT; an IPv6 host stands in brackets.  Port 0 lets the system choose."""
        value = self.text(key, default)
        host, colon, port = value.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
            raise self.error(key, f"{value!r} is no address to listen on", "write HOST:PORT, e.g. 127.0.0.1:8773")
        if int(port) > 65535:
            raise self.error(key, f"there is no port {port}", "write a port from 0 to 65535")
        return value

    def texts(self, key: str) -> dict[str, str]:
        """Return a table whose values are all strings; empty when it is missing."""
        value = self._get(key, {}, "a table")
        if not isinstance(value, dict):
            raise self._type_error(key, value, "a table of strings")
        for name, item in value.items():
            if not isinstance(item, str):
                raise self._type_error(f"{key}.{name}", item, "a string")
        return dict(value)

    def addresses(self, key: str, most: int) -> tuple[str, ...]:
        """Return an array of at most ``most`` IPv4 addresses; empty when it is missing."""
        value = self._get(key, [], "an array of addresses")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._type_error(key, value, 'an array such as ["192.0.2.1"]')
        if len(value) > most:
            raise self.error(key, f"has {len(value)} addresses", f"write at most {most}")
        for item in value:
            try:
                ipaddress.IPv4Address(item)
            except ValueError:
                raise self.error(key, f"{item!r} is no IPv4 address", 'write addresses such as "192.0.2.1"') from None
        return tuple(value)

    def networks(self, key: str) -> tuple[str, ...]:
        """Return an array of IPv4 networks in CIDR notation; empty when it is missing.  An address is a /32."""
        value = self._get(key, [], "an array of networks")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._type_error(key, value, 'an array such as ["10.20.0.0/16"]')
        networks: list[str] = []
        for item in value:
            try:
                network = ipaddress.IPv4Network(item, strict=False)
            except ValueError:
                raise self.error(key, f"{item!r} is no IPv4 network", 'write networks such as "10.20.0.0/16"') from None
            if "/" in item and str(network) != item:
                raise self.error(key, f"{item!r} is within a network, not one", f'write "{network}"')
            networks.append(str(network))
        return tuple(networks)

    def table(self, key: str) -> Table:
        """Return a sub-table; an empty one when it is missing."""
        value = self._get(key, {}, "a table")
        if not isinstance(value, dict):
            raise self._type_error(key, value, f"a table, [{key}]")
        return Table(value, self._origin, key, self.base)

    def entries(self, key: str, unique: str) -> list[Table]:
        """Return an array of tables in which no two have the same ``unique`` value; empty when it is missing."""
        value = self._get(key, [], "an array of tables")
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self._type_error(key, value, f"an array of tables, [[{key}]]")
        seen: list[object] = []
        for position, entry in enumerate(value, start=1):
            if unique in entry and entry[unique] in seen:
                raise self.error(f"{key}[{position}].{unique}", f"{entry[unique]!r} is there twice", "rename one")
            seen.append(entry.get(unique))
        return [Table(entry, self._origin, f"{key}[{n}]", self.base) for n, entry in enumerate(value, start=1)]

    def finish(self) -> None:
        """Refuse keys that no getter asked for."""
        for key in self._content:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, n=1)
                mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(self._known))}"
                raise self.error(key, "is not a known key", mend)

    def _get(self, key: str, default: object, expected: str) -> object:
        self._known.append(key)
        value = self._content.get(key, default)
        if value is None:
            raise self.error(key, "is missing", f"add {key} with {expected}")
        return value

    def _type_error(self, key: str, value: object, expected: str) -> ConfigError:
        return self.error(key, f"is {_WORDS.get(type(value), 'a date or time')}, not {expected}", f"write {expected}")
