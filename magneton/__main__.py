"""``python -m magneton`` opens the command line of :mod:`magneton_tasks`."""

if __name__ == "__main__":
    from magneton_tasks.cli.main import main

    main()
