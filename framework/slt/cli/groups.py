"""Groups of commands that answer a misspelt one with the nearest name, and that can wait with their imports."""

from __future__ import annotations

import importlib
from typing import Any

import click

__all__ = ["Group", "LazyGroup"]


class Group(click.Group):
    """A group that answers an unknown command with the nearest name and all it has."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises:
            click.UsageError: There is none of that name.
        """
        from slt.config.structuring import nearest  # noqa: PLC0415 # only needed for the error

        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            names = ", ".join(known)
            raise click.UsageError(f"no command `{args[0]}`{nearest(args[0], known)} (commands: {names})", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are imported when they are called; the help needs none of them.

    Args:
        lazy: Command name to ``(module:object, one-line help)``.
        kwargs: As `click.Group`.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's signature
        """Names in the order given."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # as above
        """Import and return one command."""
        if cmd_name not in self._lazy:
            return None
        module, _, name = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 # as above
        """List the commands with their one-line help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])
