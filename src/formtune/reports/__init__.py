"""Reports: what a comparison found, as a page, a picture, a notebook fragment or lines in a terminal.

Plain values go in (:class:`ReportData`), text comes out. Nothing here computes a statistic or knows a model.
"""

from formtune.reports.data import (
    Answer,
    ArmRow,
    Bin,
    Calibration,
    Confusion,
    Curve,
    CurvePoint,
    Disagreement,
    LeftOutRow,
    PairRow,
    Repeat,
    ReportData,
    Scale,
    Shown,
    ShownExample,
    ShownToken,
)
from formtune.reports.page import preview_html, report_html, summary_html, write_report
from formtune.reports.pictures import training_picture
from formtune.reports.searches import TrialPoint, search_picture
from formtune.reports.terminal import console_example, console_table, console_text, console_tokens

__all__ = [
    "Answer",
    "ArmRow",
    "Bin",
    "Calibration",
    "Confusion",
    "Curve",
    "CurvePoint",
    "Disagreement",
    "LeftOutRow",
    "PairRow",
    "Repeat",
    "ReportData",
    "Scale",
    "Shown",
    "ShownExample",
    "ShownToken",
    "TrialPoint",
    "console_example",
    "console_table",
    "console_text",
    "console_tokens",
    "preview_html",
    "report_html",
    "search_picture",
    "summary_html",
    "training_picture",
    "write_report",
]
