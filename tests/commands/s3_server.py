"""An S3 server on this machine: moto's, which has the real API, in another process."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

BUCKET = "toypipe"


@contextmanager
def serve_s3(log: Path) -> Iterator[str]:
    """Run a server with one bucket on a free port; yield its address. Its messages go to `log`."""
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    with log.open("w") as file, subprocess.Popen(command, stderr=file) as server:
        try:
            address = _address(log, server)
            requests.put(f"{address}/{BUCKET}", timeout=60).raise_for_status()
            yield address
        finally:
            server.terminate()


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Wait until the server has printed its address."""
    for _ in range(600):
        if found := re.search(r"Running on (\S+)", log.read_text()):
            return found[1]
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"no S3 server (`make integration` installs one):\n{log.read_text()}")
