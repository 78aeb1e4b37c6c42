"""The command line, one module per command, each imported only when it is called."""

from __future__ import annotations

import importlib

import click

from twitchdx.errors import TwitchdxError

#: command -> module that defines it as `command`, and its one-line help
COMMANDS = {
    "diagnose": "Posterior probability of every cause for one case.",
    "interview": "Ask the next best question until it may stop; then report.",
    "report": "Everything there is to say of one case, as a page, Markdown or JSON.",
    "score": "Score a file of vignettes.",
    "sensitivity": "What an answer owes to the numbers: tornados, flips, bounds, distributions.",
    "simulate": "Draw vignettes from the network, with their truth.",
    "learn": "Update table numbers by vignettes with a known truth, as a prior set.",
    "validate": "Measure accuracy and calibration on vignettes with a known truth.",
    "tables": "Check the tables, or show all that they say of one cause or finding.",
}


class CommandGroup(click.Group):
    """A click group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"twitchdx.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TwitchdxError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="twitchdx")
def main() -> None:
    """Bayesian differential diagnosis of restless, twitching, jerking and cramping legs.

    For research and teaching, not for care.

    \b
    Example:
      twitchdx diagnose --present urge_to_move,worse_at_rest --absent weakness --age 52
    """
