"""The command line: ``magneton ...``. Heavy modules are imported where a command needs them.

A command stands in ``COMMANDS`` of its group's ``cli/<group>/commands.py``; only a new group is named here.
"""

from __future__ import annotations

import os
import sys
import traceback

import click

from magneton_tasks import __version__
from magneton_tasks.base.failures import is_untold_bug, ours
from magneton_tasks.base.worker_env import die_with_parent, settle_libraries
from magneton_tasks.cli import completing
from magneton_tasks.cli.airflow import commands as scheduling
from magneton_tasks.cli.check import commands as checking
from magneton_tasks.cli.clean import commands as cleaning
from magneton_tasks.cli.config import commands as configuring
from magneton_tasks.cli.console import Quit, is_interactive
from magneton_tasks.cli.doctor import commands as checking_up
from magneton_tasks.cli.options import Commands, show_all
from magneton_tasks.cli.run import commands as running
from magneton_tasks.cli.status import commands as looking
from magneton_tasks.cli.trials import commands as tuning
from magneton_tasks.cli.view import commands as viewing
from magneton_tasks.cli.warm import commands as warming
from magneton_tasks.errors import EXIT_OK, EXIT_USAGE, MagnetonError, OutputError
from magneton_tasks.kernels.compiled import cache as kernel_cache
from magneton_tasks.work import events


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nExample:  magneton sample demo && magneton run demo/volume.yaml",
)
@click.version_option(__version__, prog_name="magneton")
@click.option(
    "--help-all",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_all,
    help="Show this message with the commands that runs call, too.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn an affinity map of an EM volume into one segmentation of the full volume.

    Without a command, it opens the menu on a terminal.
    """
    if context.invoked_subcommand is not None:
        return
    if not is_interactive():
        click.echo(context.get_help())
        sys.exit(EXIT_USAGE)
    from magneton_tasks.cli.menu import main_menu

    main_menu.open_menu()


for command in (
    running.sample,
    *configuring.COMMANDS,
    *tuning.COMMANDS,
    running.run,
    running.attach,
    *looking.COMMANDS,
    *viewing.COMMANDS,
    *checking.COMMANDS,
    *cleaning.COMMANDS,
    *checking_up.COMMANDS,
    *scheduling.COMMANDS,
    *warming.COMMANDS,
    *completing.COMMANDS,
    running.plan,
    *running.STAGES,
):
    cli.add_command(command)


def main(argv: list[str] | None = None) -> None:
    """Entry point: errors of ours become a message and their exit code."""
    die_with_parent()
    settle_libraries()
    kernel_cache.talks = True
    events.begin()
    try:
        cli.main(args=argv, standalone_mode=False, complete_var=completing.VARIABLE)
    except (click.exceptions.Abort, KeyboardInterrupt):  # click makes the one of the other
        _end("stopped", 130)
    except Quit:
        _end("left; nothing was changed", EXIT_OK)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except MagnetonError as error:
        _fail(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        _fail(error)


def _fail(error: Exception) -> None:
    """End with the message and the exit code of an error; a bug's traceback comes before that."""
    found = ours(error)
    if found is None and isinstance(error, OSError):
        found = OutputError(str(error), "fix the file system, then rerun")
    if found is None or is_untold_bug(found):
        traceback.print_exc()
    if found is None:
        found = MagnetonError("this is a bug in Magneton: report it with the lines above")
    refused = events.Refused(found.exit_code, found.what, found.hint)
    if events.are_read():
        events.tell(refused)
        sys.exit(found.exit_code)
    _end(refused.sentence(), found.exit_code)


def _end(message: str, code: int) -> None:
    click.echo(message, err=True)
    sys.exit(code)
