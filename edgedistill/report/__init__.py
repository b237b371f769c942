"""The HTML report of one run: a single file that opens without a network and without scripts."""

from edgedistill.report.page import render, write_report

__all__ = ["render", "write_report"]
