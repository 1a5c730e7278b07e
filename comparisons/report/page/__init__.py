"""The HTML page of a report: one file that loads nothing else."""

from comparisons.report.page.html import html_page

__all__ = ["html_page"]
