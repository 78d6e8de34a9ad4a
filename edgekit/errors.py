"""The errors of the workstation's side; each names the thing, the value, the rule, the way out."""


class EdgeKitError(Exception):
    """Base of every error that a user of edgekit can provoke on this side."""


class DataError(EdgeKitError):
    """Data that cannot be read or do not fit the model."""


class BoardError(EdgeKitError):
    """A board that cannot be reached or whose agent fails."""


class CalibrationError(EdgeKitError):
    """Measurements that no board profile can be fitted to."""


class ReportError(EdgeKitError):
    """A comparison file that cannot be read."""


class RunError(EdgeKitError):
    """A run folder that cannot be used, or a comparison that cannot be carried out."""


class NpuError(EdgeKitError):
    """A workload, mapping or arithmetic that the cost model cannot judge."""


class DiskError(RunError):
    """A disk that takes no more, or a folder that cannot be written; nothing else can go on."""
