"""Ctrl-C ends the work in good order and says how to go on; a second one ends it at once."""

import signal
import subprocess
import sys

import pytest

from sgear.stopping import Stopped, delayed, is_asked, listening, raise_if_asked


def answer(number: int) -> None:
    with listening():
        try:
            signal.raise_signal(number)
        except Exception as err:
            raise AssertionError from err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_no_error_and_the_answers_to_signals_are_given_back(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"stopped by {number.name}") as stop:
        answer(number)
    assert stop.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_a_step_is_finished_before_the_work_ends(capfd):
    with listening(), delayed():
        raise_if_asked()
        signal.raise_signal(signal.SIGTERM)
        assert is_asked()
        assert "stopping after this step; once more stops at once" in capfd.readouterr().err
        with pytest.raises(Stopped, match="stopped by SIGTERM"):
            raise_if_asked()
    with listening():
        assert not is_asked()


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_the_second_signal_ends_the_process_at_once(tmp_path, second):
    # Within the block, as the answers are Python's again after it.
    code = f"""
import os, signal
from sgear.stopping import Stopped, listening
with listening():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except Stopped:
        try:
            os.kill(os.getpid(), signal.{second})
        finally:
            print("never comes here")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 128 + getattr(signal, second)
    assert done.stdout == done.stderr == ""
