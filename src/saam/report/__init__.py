"""Turn records into reports: a table for the terminal, verdicts in words, and one self-contained HTML page."""

from saam.report.overview import verdicts
from saam.report.page import html, write_report
from saam.report.terminal import table

__all__ = ["html", "table", "verdicts", "write_report"]
