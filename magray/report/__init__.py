"""Reports: figures as PNG, tables, and HTML pages that need no other file and no network."""

from magray.report.project import write_report

__all__ = ["write_report"]
