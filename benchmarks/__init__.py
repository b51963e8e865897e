"""Measurements of what the project promises: ``python -m benchmarks [NAME ...]`` or ``make bench``.

Each module measures one topic; its ``run()`` returns rows made by `benchmarks.measure.row`.
CPU time counts, not the clock on the wall: of whole processes with their children, start-up included
unless a row says otherwise. Ratios are measured in one run.
"""
