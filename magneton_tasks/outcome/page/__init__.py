"""``report.html`` and the parts of its page."""
