"""What was found, for people: figures as PNG, tables, and HTML pages that hold them all and need no other file."""

from magray.report.project import write_report

__all__ = ["write_report"]
