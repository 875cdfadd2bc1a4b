"""The command line as a whole, within this process: what is printed, what is complained of, and the exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from sgear.cli.main import main


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs `sgear` with the words of a command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object, columns: int = 80) -> Done:
        self._monkeypatch.setenv("COLUMNS", str(columns))
        self._monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        self._monkeypatch.setattr(sys, "argv", ["sgear", *map(str, words)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        written = self._capsys.readouterr()
        return Done(int(stopped.value.code or 0), written.out, written.err)
