"""The errors of the agent: one base class, so that a caller can catch all of them."""

_LONGEST_TEXT = 600


class EdgeKitDeviceError(Exception):
    """Something a person can mend; the message names the thing, the value, the rule, a way out."""


class UsageError(EdgeKitDeviceError):
    """A setting that cannot be obeyed."""


class RuntimeMissingError(EdgeKitDeviceError):
    """No usable TFLite runtime in the agent's environment."""


class BoardProfileError(EdgeKitDeviceError):
    """A board profile that cannot be found or breaks a rule of its schema."""


class NpuProfileError(EdgeKitDeviceError):
    """An NPU profile that cannot be found or breaks a rule of its schema."""


class ArithmeticSettingError(EdgeKitDeviceError):
    """An arithmetic that the NEPU delegate cannot compute in."""


class DelegateUnavailableError(EdgeKitDeviceError):
    """The NEPU delegate's library is missing, or cannot be loaded or built here."""


class MeterError(EdgeKitDeviceError):
    """A power meter that is not there, or gives no readings."""


class RecordError(EdgeKitDeviceError):
    """A number or a record that breaks a rule of its schema."""


class ModelError(EdgeKitDeviceError):
    """One model cannot be profiled; it becomes an error record and the others go on."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep `kind`, a word for programs, beside the message for people."""
        super().__init__(message)
        self.kind = kind


class RequestError(EdgeKitDeviceError):
    """One request of a client that cannot be obeyed; the agent answers with it and lives on."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep `kind`, a word for programs, beside the message for people.

        Of a long message the beginning is kept: what it quotes may be a whole line.
        """
        cut = len(message) > _LONGEST_TEXT
        super().__init__(f"{message[:_LONGEST_TEXT]}…" if cut else message)
        self.kind = kind
