"""A study as files that people look at."""

from fedmtl.report.write import write_report as write_report
