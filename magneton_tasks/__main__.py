"""``python -m magneton_tasks``: the command line."""

from magneton_tasks.base.importing import importing

with importing():
    from magneton_tasks.cli.main import main

main()
