"""The page of a run: its template, style and scripts, and the data that it shows.

Airflow serves it live: `data.facts`, `block_summary.summarise` and the layers of `block_squares` one
by one. ``report.html`` is the same page with the same data inside (`data.whole`, `frozen`).
"""

from __future__ import annotations

from pathlib import Path

#: Where template, style and scripts lie.
FOLDER = Path(__file__).parent
