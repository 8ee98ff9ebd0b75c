"""What every command gets: options that all share, the output, and the workspace when it is asked for.

A command is a function whose first parameter is the :class:`Session`; the rest are Typer parameters::

    @command(app, example="redoubt keys show default")
    def show(session: Session, name: Annotated[str, typer.Argument(help="The key.")]) -> None:
        \"\"\"Show one key.\"\"\"

:func:`command` adds the shared options, which may also stand before the command's or the group's name
(``redoubt --json keys list``); a group is made with :func:`group`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, ParamSpec, get_type_hints

import typer

from redoubt.cli.output import Output
from redoubt.errors import UsageError

if TYPE_CHECKING:
    from redoubt.keys.rootkey import PassphraseSource
    from redoubt.keys.workspace import Workspace

P = ParamSpec("P")
_PANEL: Final = "Options of every command"

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", metavar="DIR", help="The workspace (default: the nearest).", rich_help_panel=_PANEL),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object.", rich_help_panel=_PANEL)
]
PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="Read the workspace's passphrase from this 0600 file.",
        rich_help_panel=_PANEL,
    ),
]
PassphraseDescriptorOption = Annotated[
    int | None,
    typer.Option(
        "--passphrase-fd",
        metavar="N",
        help="Read the passphrase from this file descriptor.",
        rich_help_panel=_PANEL,
    ),
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks (also REDOUBT_DEBUG=1).", rich_help_panel=_PANEL)
]


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """The values of the shared options, where they stood."""

    workspace: Path | None = None
    json: bool = False
    passphrase_file: Path | None = None
    passphrase_fd: int | None = None
    debug: bool = False

    def over(self, outer: SharedOptions) -> SharedOptions:
        """Return these values, and *outer*'s for what is not given here."""
        own_passphrase = self if self.passphrase_file is not None or self.passphrase_fd is not None else outer
        return SharedOptions(
            self.workspace if self.workspace is not None else outer.workspace,
            self.json or outer.json,
            own_passphrase.passphrase_file,
            own_passphrase.passphrase_fd,
            self.debug or outer.debug,
        )


_SHARED: Final = {
    "workspace": (WorkspaceOption, None),
    "json": (JsonOption, False),
    "passphrase_file": (PassphraseFileOption, None),
    "passphrase_fd": (PassphraseDescriptorOption, None),
    "debug": (DebugOption, False),
}


class Session:
    """One run of one command."""

    def __init__(self, options: SharedOptions) -> None:
        self.options = options
        self.output = Output(json=options.json)

    def passphrase(self, *, prompt: bool = False) -> PassphraseSource | None:
        """Return the source of the passphrase that was chosen; raises UsageError if several were."""
        from redoubt.keys.rootkey import PassphraseSource

        return PassphraseSource.of(
            file=self.options.passphrase_file, descriptor=self.options.passphrase_fd, prompt=prompt
        )

    @functools.cached_property
    def workspace(self) -> Workspace:
        """The workspace that was named, or the nearest one; raises WorkspaceError."""
        from redoubt.keys.workspace import Workspace

        return Workspace.open(self.options.workspace, passphrase=self.passphrase())


def group(help_text: str) -> typer.Typer:
    """Return the app of a command group, which takes the shared options before the command's name.

    The group alone prints its help; with ``--json``, which promises an object, it is a usage error.
    """
    app = typer.Typer(help=help_text)

    @app.callback(help=help_text, invoke_without_command=True)
    def shared(
        context: typer.Context,
        *,
        workspace: WorkspaceOption = None,
        json: JsonOption = False,
        passphrase_file: PassphraseFileOption = None,
        passphrase_fd: PassphraseDescriptorOption = None,
        debug: DebugOption = False,
    ) -> None:
        own = SharedOptions(workspace, json, passphrase_file, passphrase_fd, debug)
        options = own.over(_outer(context))
        context.obj = options
        if context.invoked_subcommand is None:
            if options.json:
                raise UsageError("Missing command.", hint=help_hint(context.command_path))
            typer.echo(context.get_help())

    return app


def command(
    app: typer.Typer, *, example: str, name: str | None = None, options_first: bool = False
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Register a function as a command of *app*, with the shared options and *example* under its help.

    With *options_first* every word after the first argument is an argument too, whatever it begins with.
    """

    def register(function: Callable[Concatenate[Session, P], None]) -> Callable[Concatenate[Session, P], None]:
        def run(context: typer.Context, **values: Any) -> None:
            own = SharedOptions(**{option: values.pop(option) for option in _SHARED})
            try:
                function(Session(own.over(_outer(context))), **values)  # type: ignore[call-arg]
            except UsageError as error:
                if error.hint is None and error.next_step == UsageError.next_step:
                    error.hint = help_hint(context.command_path)
                raise

        hints = get_type_hints(function, include_extras=True)
        own_parameters = list(inspect.signature(function).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(parameter.replace(annotation=hints[parameter.name], kind=keyword) for parameter in own_parameters),
            *(
                inspect.Parameter(option, keyword, default=default, annotation=annotation)
                for option, (annotation, default) in _SHARED.items()
            ),
        ]
        # Typer reads commands by their signature: this one is the function's, with the shared options added.
        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        settings = {"allow_interspersed_args": False} if options_first else None
        app.command(name, epilog=f"Example: {example}", context_settings=settings)(run)
        return function

    return register


def help_hint(command_path: str) -> str:
    """Return the next step after a usage error of one command."""
    return f"See `{command_path} --help` for the arguments and an example."


def _outer(context: typer.Context) -> SharedOptions:
    return context.obj if isinstance(context.obj, SharedOptions) else SharedOptions()
