"""A report is written completely or not at all, and rejected before any work is done for it."""

import subprocess
import sys

import pytest

from headstart.classify.report import check_report_output
from headstart.files.errors import MissingExtraError, OptionError, OutputError


def test_another_suffix_than_html_is_rejected(tmp_path):
    with pytest.raises(OptionError, match=r"report\.pdf: expected a name that ends in \.html"):
        check_report_output(tmp_path / "report.pdf")


def test_a_missing_folder_is_rejected(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        check_report_output(tmp_path / "none" / "report.html")


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'pip install "headstart\[report\]"'):
        check_report_output(tmp_path / "report.html")


def test_nothing_heavy_is_loaded_before_it_is_needed():
    heavy = "{'jinja2', 'PIL', 'sklearn', 'onnxruntime'}"
    code = f"import sys, headstart.classify.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
