"""The report of a project: figures as PNG, and one HTML page that holds them all."""

from magray.report.page import write_report

__all__ = ["write_report"]
