"""The doctor says what works, and for each part that does not, what to do."""

import importlib.util

from sgear.cli.doctor import run_doctor


def test_torchcodec_that_is_not_installed_is_told_and_is_no_illness(monkeypatch, capsys):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torchcodec" else find_spec(name, *rest)
    )
    monkeypatch.setenv("COLUMNS", "200")
    is_healthy = run_doctor()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "torchcodec" in line]
    assert "not installed" in line
    assert "mend" not in line
    assert isinstance(is_healthy, bool)


def test_torchcodec_that_does_not_load_is_to_be_mended(monkeypatch, capsys, tmp_path):
    import sys

    (tmp_path / "torchcodec").mkdir()
    (tmp_path / "torchcodec" / "__init__.py").write_text("")
    (tmp_path / "torchcodec" / "decoders.py").write_text("raise RuntimeError('Could not load libtorchcodec')\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    assert not run_doctor()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.strip("\u2502 ").startswith("torchcodec")]
    assert "mend" in line
    assert "ffmpeg" in line
    for name in ("torchcodec.decoders", "torchcodec"):
        sys.modules.pop(name, None)
