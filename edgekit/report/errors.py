"""What can go wrong in reading a report back."""

from edgekit.errors import EdgeKitError


class ReportError(EdgeKitError):
    """A comparison file that cannot be read; the message says which rule it breaks."""
