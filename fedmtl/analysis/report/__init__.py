"""A study as files: pictures, tables and the page that shows them."""

from fedmtl.analysis.report.write import write_report as write_report
