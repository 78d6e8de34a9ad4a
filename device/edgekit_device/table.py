"""A TOML table as a profile reads it: every key taken once, with its rule, and none left over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgekit_device.errors import EdgeKitDeviceError


class Table:
    """A TOML table that is read key by key and knows what was not read.

    What breaks a rule is raised as `error`, with the file, the key, the rule and the value.
    """

    def __init__(
        self, file: str, prefix: str, data: object, error: type[EdgeKitDeviceError]
    ) -> None:
        self._file, self._prefix, self._error = file, prefix, error
        if not isinstance(data, Mapping):
            raise self.broken("", data, "must be a table")
        self._left = dict(data)

    def broken(self, key: str, value: object, rule: str) -> EdgeKitDeviceError:
        """The error of one key: to be raised by the caller."""
        name = f"{self._prefix}{key}".rstrip(".")
        return self._error(f"{self._file}: {name}: {rule}. Received: {value!r}")

    def take(self, key: str) -> object:
        """The value of a key that must be there."""
        if key not in self._left:
            raise self.broken(key, None, "is missing")
        return self._left.pop(key)

    def text(self, key: str) -> str:
        """Text that is not empty."""
        value = self.take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.broken(key, value, "must be text")
        return value

    def optional_text(self, key: str) -> str | None:
        """The same, or None where the key is left out."""
        return self.text(key) if key in self._left else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.take(key)
        if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
            raise self.broken(key, value, "must be a list of texts")
        return tuple(value)

    def number(self, key: str, least: float, most: float) -> float:
        """A finite number of this range."""
        value = self.take(key)
        self._in_range(key, value, least, most)
        return value  # type: ignore[return-value]

    def optional(self, key: str, least: float, most: float) -> float | None:
        """The same, or None where the key is left out."""
        return self.number(key, least, most) if key in self._left else None

    def whole(self, key: str, least: int, most: int) -> int:
        """A whole number of this range."""
        value = self.number(key, least, most)
        if not isinstance(value, int):
            raise self.broken(key, value, "must be a whole number")
        return value

    def choice(self, key: str, known: Sequence[str]) -> str:
        """One of the known words."""
        value = self.text(key)
        if value not in known:
            raise self.broken(key, value, f"must be one of {', '.join(known)}")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise self.broken(key, value, "must be true or false")
        return value

    def has(self, key: str) -> bool:
        """Whether the key is there and not yet read."""
        return key in self._left

    def keys_left(self) -> tuple[str, ...]:
        """The keys that were not yet read."""
        return tuple(self._left)

    def numbers(self, key: str, least: float, most: float) -> tuple[float, ...]:
        """A list of numbers of this range, empty where the key is left out."""
        if key not in self._left:
            return ()
        value = self.take(key)
        if not isinstance(value, list) or not value:
            raise self.broken(key, value, "must be a list of numbers, or left out if unknown")
        for entry in value:
            self._in_range(key, entry, least, most)
        return tuple(value)

    def table(self, key: str) -> Table:
        """The table below a key."""
        return Table(self._file, f"{self._prefix}{key}.", self.take(key), self._error)

    def tables(self, key: str) -> list[Table]:
        """The array of tables below a key, empty where it is left out."""
        value = self._left.pop(key, [])
        if not isinstance(value, list):
            raise self.broken(key, value, f"must be an array of tables, [[{key}]]")
        return [
            Table(self._file, f"{self._prefix}{key}[{i}].", entry, self._error)
            for i, entry in enumerate(value)
        ]

    def nothing_left(self) -> None:
        """Refuse the first key that was not read."""
        for key, value in self._left.items():
            raise self.broken(key, value, "is not a key of this schema")

    def _in_range(self, key: str, value: object, least: float, most: float) -> None:
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not math.isfinite(value) or not least <= value <= most:  # type: ignore[arg-type,operator]
            raise self.broken(key, value, f"must be a number from {least:g} to {most:g}")
