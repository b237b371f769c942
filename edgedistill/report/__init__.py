"""The HTML report of one run: a single file that opens without a network and without scripts."""

from edgedistill.report.page import SCHEMA, render, write_report

__all__ = ["SCHEMA", "render", "write_report"]
