"""The help of a command, from its docstring: broken where the terminal ends, not the code."""

import inspect

import typer


def fill_help(app: typer.Typer) -> None:
    """Join the lines of each paragraph in the help of all commands of an app, and below it."""
    for command in app.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = _joined(text) or None
    for group in app.registered_groups:
        if group.typer_instance is not None:
            fill_help(group.typer_instance)


def _joined(text: str) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(paragraphs)
