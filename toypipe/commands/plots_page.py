"""`toypipe plots-page`: let `dvc plots show` draw without a network.

DVC's own page fetches Vega from the network. Its code is not ours to commit, so the page is made
from the installed package, and Git ignores it.
"""

import os
import subprocess
import sys
from pathlib import Path

from toypipe.commands.report.charts import bundle
from toypipe.data.files import whole
from toypipe.errors import ToypipeError

PAGE = Path(".dvc/plots.html")
HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>DVC plots</title>
<link rel="icon" href="data:,">
<script>BUNDLE</script>
<style>body { font-family: system-ui, sans-serif; margin: 1rem; } img { max-width: 100%; }</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def run() -> Path:
    """Write the page and tell DVC, in the configuration of this checkout alone, to use it.

    Returns:
        Where it is.

    Raises:
        ToypipeError: This is no DVC project, or DVC is not installed.
    """
    if not PAGE.parent.is_dir():
        raise ToypipeError("there is no .dvc here: run this in the folder of a DVC project")
    with whole(PAGE) as file:
        file.write(HTML.replace("BUNDLE", bundle()).encode())
    # DVC takes a page that does not exist for the page's text, so this comes last.
    command = [sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", PAGE.name]
    own = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    result = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToypipeError(f"DVC does not take the page: {result.stderr.strip()}")
    return PAGE
