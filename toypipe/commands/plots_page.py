"""Command `plots-page`: `dvc plots show` without a network.

DVC's own page loads Vega from the network; this one holds the installed Vega. Git ignores it.
"""

import subprocess
from pathlib import Path

from toypipe.commands.dvc import COMMAND, environment
from toypipe.commands.report.charts import bundle
from toypipe.data.files import whole
from toypipe.errors import ToypipeError

PAGE = Path(".dvc/plots.html")
HTML = """<!DOCTYPE html> <html lang="en"><head>
<meta charset="utf-8"> <meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag} <title>DVC plots</title> <link rel="icon" href="data:,"> <script>BUNDLE</script>
<style>body { font-family: system-ui, sans-serif; margin: 1rem; } img { max-width: 100%; }</style>
</head><body>{plot_divs}</body></html>
"""


def run() -> Path:
    """Write the page and name it in .dvc/config.local; ToypipeError if DVC refuses or is absent."""
    if not PAGE.parent.is_dir():
        raise ToypipeError("there is no .dvc here: run this in the folder of a DVC project")
    with whole(PAGE) as file:
        file.write(HTML.replace("BUNDLE", bundle()).encode())
    # After the page: DVC takes the name of a missing file for the page's text.
    command = [*COMMAND, "config", "--local", "plots.html_template", PAGE.name]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToypipeError(f"DVC refuses the page: {result.stderr.strip()}")
    return PAGE
