"""The Typer application: verbs, global options, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from vlbench.errors import EvaluationFailed, VlbenchError

INTERRUPTED = 130


def _version(value: bool) -> None:
    if value:
        from vlbench import __version__

        typer.echo(f"vlbench {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """Return the application with all built-in verbs."""
    from vlbench.cli import cache, data, lists, new, run, train
    from vlbench.cli.adapt import adapt
    from vlbench.cli.check import baseline_app, check
    from vlbench.cli.compare import compare
    from vlbench.cli.doctor import doctor
    from vlbench.cli.leaderboard import leaderboard_app
    from vlbench.cli.plot import plot
    from vlbench.cli.score import score

    app = typer.Typer(
        name="vlbench",
        help="Evaluate vision-language models: official numbers, comparable or refused.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
        ] = False,
        debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    ) -> None:
        if debug:
            os.environ["VLBENCH_DEBUG"] = "1"

    app.command("run")(run.run)
    app.command("list")(lists.show)
    app.command("score")(score)
    app.command("compare")(compare)
    app.command("plot")(plot)
    app.command("check")(check)
    app.add_typer(baseline_app, name="baseline")
    app.add_typer(leaderboard_app, name="leaderboard")
    app.add_typer(data.data_app, name="data")
    app.add_typer(new.new_app, name="new")
    app.add_typer(cache.cache_app, name="cache")
    app.command("doctor")(doctor)
    app.command("pretrain")(train.pretrain)
    app.command("finetune")(train.finetune)
    app.command("adapt")(adapt)
    return app


def run_app(arguments: list[str]) -> int:
    """Run the command line; return the exit code: see ``docs/cli.md``."""
    app = build_app()
    try:
        _add_plugin_commands(app, arguments)
        # standalone_mode=False: errors come back here instead of being printed by the library in its own form.
        code: Any = app(arguments, standalone_mode=False)
        if code == INTERRUPTED:  # the library turns an interrupt into a code of its own, without a word
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("vlbench: interrupted; the same command resumes", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except VlbenchError as error:
        return _fail(error, error.exit_code)
    except BrokenPipeError:
        # The reader of standard output went away (`| head`); nothing was lost.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the class has no public home: typer brings its own click
            print(str(getattr(error, "message", error)).rstrip(), file=sys.stderr)  # noqa: T201
            return 2
        if hasattr(error, "format_message"):
            return _fail(error, 2, error.format_message())
        unexpected = f"{type(error).__name__}: {error}; please report it with the output of --debug"
        return _fail(error, EvaluationFailed.exit_code, unexpected)


def _fail(error: Exception, code: int, message: str | None = None) -> int:
    if os.environ.get("VLBENCH_DEBUG"):
        raise error
    print(f"vlbench: {' '.join((message or str(error)).split())}", file=sys.stderr)  # noqa: T201
    return code


def _add_plugin_commands(app: typer.Typer, arguments: list[str]) -> None:
    """Let installed plugins add verbs, only when the verb asked for is none of ours."""
    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    ours = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    if verb is None or verb in ours:
        return
    from vlbench.plugins import load_plugins

    load_plugins().manager.hook.vlbench_register_commands(app=app)
