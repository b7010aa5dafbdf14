"""What stands in the page as compressed text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_page_is_made_where_the_working_directory_is_gone(tmp_path: Path) -> None:
    """As in a Ray job whose package was cleaned up. Red: importing itables."""
    code = (
        "import os; from octoscope.report.embedded import table_library; os.rmdir(os.getcwd()); "
        "print(len(table_library()))"
    )
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=gone, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000
