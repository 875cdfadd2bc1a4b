"""The command line as a whole, within this process: what is printed, what is complained of, and the exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from unittest import mock

import pytest

from sgear.cli.main import main


def run_here(*words: object, columns: int = 80, **environment: str) -> CompletedProcess[str]:
    """Run `sgear` with the words of a command; importing torch anew would take longer than most commands.

    Args:
        words: The command without `sgear`.
        columns: Width of the terminal.
        environment: Variables that the command sees.
    """
    out, err = io.StringIO(), io.StringIO()
    seen = {"COLUMNS": str(columns), "OMP_WAIT_POLICY": "PASSIVE", **environment}
    argv = ["sgear", *map(str, words)]
    with (
        mock.patch.dict(os.environ, seen),
        mock.patch.object(sys, "argv", argv),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    return CompletedProcess(argv, int(stopped.value.code or 0), out.getvalue(), err.getvalue())
