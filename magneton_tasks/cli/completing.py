"""``magneton completion``: the script that lets a shell complete commands and options."""

from __future__ import annotations

import os
from pathlib import Path

import click

from magneton_tasks.cli.options import command
from magneton_tasks.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
#: Set by the script to ask for completions, whatever name the program was started by.
VARIABLE = "_MAGNETON_COMPLETE"


@command(example='eval "$(magneton completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the script that lets a shell complete commands.

    It completes commands, options and file names. SHELL defaults to your shell.

    \b
    To use it in every new shell:
      bash  echo 'eval "$(magneton completion bash)"' >> ~/.bashrc
      zsh   echo 'eval "$(magneton completion zsh)"' >> ~/.zshrc
      fish  magneton completion fish > ~/.config/fish/completions/magneton.fish
    """
    from click.shell_completion import get_completion_class

    shell = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise UsageError(
            f"your shell ($SHELL) is {shell or 'not set'}", f"name one of {', '.join(SHELLS)}"
        )
    root = context.find_root().command
    click.echo(kind(root, {}, "magneton", VARIABLE).source())


COMMANDS = (completion,)
