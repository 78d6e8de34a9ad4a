"""Comparisons as tables, files and pages; importing this package loads neither rich nor plots."""

from edgekit.errors import ReportError
from edgekit.report.table import print_table, table_text
from edgekit.report.write import Report, read_comparison, write_report

__all__ = [
    "Report",
    "ReportError",
    "print_table",
    "read_comparison",
    "table_text",
    "write_report",
]
