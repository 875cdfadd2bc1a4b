"""The commands of a page of the documentation, run as a shell would run them, `sgear` within this process.

Understood are assignments, `export`, `sgear`, and the tools in `_TOOLS`; anything else is an error, so that nothing on
a page is skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from string import Template

from typer.testing import CliRunner

from sgear.cli.main import app

_TOOLS = {"mkdir", "cp"}
_ASSIGNMENT = re.compile(r"(\w+)=(.*)", re.DOTALL)


def commands_under(page: Path, heading: str) -> list[str]:
    """Return the first block of shell commands under a heading, a line each, without comments."""
    section = page.read_text(encoding="utf-8").split(f"\n## {heading}\n", maxsplit=1)[1]
    block = section.split("```bash\n", maxsplit=1)[1].split("```", maxsplit=1)[0]
    lines = [line.split(" # ")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def sgear(*arguments: object) -> str:
    """Run the command line and return what it prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, f"sgear {arguments}: {result.output} {result.exception!r}"
    return result.output


def words_of(line: str, variables: dict[str, str]) -> list[str]:
    """Return the words of a line, with variables in their place."""
    return shlex.split(Template(line).substitute(variables))


def run_commands(commands: list[str]) -> dict[str, str]:
    """Run commands in the present folder; returns what each line of `sgear` printed."""
    variables: dict[str, str] = {}
    printed = {}
    for line in commands:
        program, *arguments = words_of(line, variables)
        if program == "sgear":
            printed[line] = sgear(*arguments)
        elif program in _TOOLS:
            subprocess.run([program, *arguments], check=True)
        elif program == "export":
            os.environ.update(dict([arguments[0].split("=", maxsplit=1)]))
        elif assigned := _ASSIGNMENT.fullmatch(program):
            variables[assigned[1]] = assigned[2]
        else:
            raise ValueError(f"not understood: {line}")
    return printed
