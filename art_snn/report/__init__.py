"""Rows as tables, files and pictures."""

from art_snn.report.rows import flat, plot, text_table, write_csv, write_json

__all__ = ["flat", "plot", "text_table", "write_csv", "write_json"]
