"""`python -m stages`: the commands of the folder one stands in."""

from stages.cli import app

app(prog_name="toypipe")
