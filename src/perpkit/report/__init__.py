"""What runs looked like, side by side: a table, pictures, and one HTML page with both."""

from perpkit.report.html import render_html, write_report
from perpkit.report.pictures import fund_svg, hero_svg, liquidations_svg, prices_svg, sources_svg
from perpkit.report.run import RunSummary
from perpkit.report.table import Row, render_text, summary

__all__ = [
    "Row",
    "RunSummary",
    "fund_svg",
    "hero_svg",
    "liquidations_svg",
    "prices_svg",
    "render_html",
    "render_text",
    "sources_svg",
    "summary",
    "write_report",
]
