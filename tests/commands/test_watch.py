"""The server of the page that shows trainings: who may read what, and what it says of each run."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from conftest import Project
from faults.project import await_
from toypipe.commands.watch.server import Server, listen
from toypipe.errors import ToypipeError
from toypipe.pipeline.resume import claimed
from toypipe.pipeline.run_store import runs_folder
from toypipe.training.state import Epoch, loss_table


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the runs of an empty folder."""
    monkeypatch.chdir(tmp_path)
    with listen(0) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def get(port: int, path: str, host: str | None = None) -> tuple[int, str, dict[str, str]]:
    """Return the status, the content and the headers of an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", path, skip_host=host is not None)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def runs(port: int) -> list[dict[str, Any]]:
    """Return what the server says of each run."""
    found: list[dict[str, Any]] = json.loads(get(port, "/runs")[1])["runs"]
    return found


def opened(port: int, key: str) -> dict[str, Any]:
    """Return what the server says of a run that is opened."""
    inside: dict[str, Any] = json.loads(get(port, f"/runs?open={key}")[1])["opened"][key]
    return inside


@pytest.mark.parametrize("path", ["/", "/watch.css", "/watch.js", "/vega.js", "/runs"])
def test_the_page_is_all_there(path: str, server: Server) -> None:
    """Also where nothing has ever run; nothing may be loaded from elsewhere."""
    status, content, headers = get(server.server_port, path)

    assert status == 200
    assert content
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:8765", "127.0.0.1.example.org", "[::1]"]
)
def test_another_host_is_refused(host: str, server: Server) -> None:
    """A page from elsewhere whose name leads to this machine learns nothing."""
    for path in ("/", "/runs", "/runs?open=0123456789ab"):
        status, content, _ = get(server.server_port, path, host)

        assert (status, "runs" in content) == (403, False)
    for own in ("localhost", f"localhost:{server.server_port}", "127.0.0.1"):
        assert get(server.server_port, "/runs", own)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../params.yaml",
        "/%2e%2e/params.yaml",
        "/runs?open=..",
        "/runs?compare=../../params.yaml",
        "/runs?open=0123456789ab&open=/etc/passwd",
        "/runs?open=0123456789AB",
        "/server.py",
        "//runs/x",
    ],
)
def test_nothing_but_runs_can_be_read(path: str, server: Server) -> None:
    """No name leads out of their folder, or to another file."""
    Path("params.yaml").write_text("secret")
    status, content, _ = get(server.server_port, path)

    assert (status, content) == (404, "there is no such page")


def test_only_this_machine_can_reach_it(server: Server) -> None:
    """It listens on the loopback address alone."""
    assert server.server_address[0] == "127.0.0.1"


def make_run(number: int, *, epochs: int = 3, **note: Any) -> Path:
    """Write the folder of a training with so many finished epochs; return it."""
    rows = [Epoch(i + 1, 2.0 / (i + 1), 2.1 / (i + 1), i / 10, 0.1) for i in range(epochs)]
    with claimed({"number": number, "params": {"epochs": 9, "loss": "mse"}}, {}) as folder:
        folder.write("loss.csv", loss_table(rows))
        folder.log("begun")
        folder.note(epoch=epochs, **note)
    return folder.path


def test_a_run_is_shown_with_its_curves_and_its_log(server: Server) -> None:
    """With the name of the experiment and what differs from params.yaml."""
    path = make_run(1, experiment="wild-goose", finished=True)
    (run,) = runs(server.server_port)

    assert (run["name"], run["state"]) == (f"wild-goose {path.name[:6]}", "finished")
    assert (run["epoch"], run["epochs"]) == (3, 9)
    assert run["changes"] == ["epochs=9", "loss=mse"]
    inside = opened(server.server_port, path.name)
    loss, accuracy = inside["charts"]
    assert loss["caption"] == "The mean train loss went from 2.0000 to 0.6667."
    assert accuracy["caption"] == "The best is 20.0\N{NO-BREAK SPACE}%, in epoch 3."
    assert len(loss["spec"]["data"]["values"]) == 6
    assert inside["log"].endswith("begun")


def test_runs_are_drawn_over_each_other(server: Server) -> None:
    """Each has a colour and a caption of its own."""
    names = [make_run(number).name for number in (1, 2)]
    query = "&".join(f"compare={name}" for name in names)
    loss, _ = json.loads(get(server.server_port, f"/runs?{query}")[1])["compared"]
    colour = loss["spec"]["layer"][0]["encoding"]["color"]

    assert colour["field"] == "run"
    assert sorted(colour["scale"]["domain"]) == sorted(name[:6] for name in names)
    assert loss["caption"].count("The mean train loss went") == 2


def test_an_unknown_run_has_no_curves(server: Server) -> None:
    """It may have been forgotten since the page was made."""
    query = "open=0123456789ab&compare=0123456789ab&compare=0123456789cd"
    answer = json.loads(get(server.server_port, f"/runs?{query}")[1])

    assert (answer["opened"], answer["compared"]) == ({}, [])


DAMAGE = {
    "nothing in it": {},
    "half a record": {"run.json": b'{"epoch": 1.5, "val'},
    "no table": {"run.json": b'{"epoch": 1.5, "finished": true}'},
    "half a table": {"loss.csv": b"epoch,train_loss,valid"},
    "another table": {"loss.csv": b"a,b\n1,2\n", "progress.json": b'{"epoch": "x"}'},
    "no text": dict.fromkeys(("run.json", "loss.csv", "progress.json", "log.txt"), b"\xff\x00"),
    "strange parameters": {
        "run.json": b'{"values": {"params": {"epochs": [1], "loss": {"a": 1}}}}'
    },
    "not finite": {"run.json": b'{"values": {"params": {"epochs": 1e400}}}'},
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_shown_as_far_as_it_goes(
    damage: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the sound ones, and without a traceback."""
    sound = make_run(1, finished=True)
    broken = runs_folder() / "0123456789ab"
    broken.mkdir()
    for name, content in DAMAGE[damage].items():
        (broken / name).write_bytes(content)
    found = {run["key"]: run["state"] for run in runs(server.server_port)}

    assert found[sound.name] == "finished"
    assert found[broken.name] in {"stopped", "finished"}
    for what in ("open", "compare"):
        query = f"{what}={broken.name}&{what}={sound.name}"
        assert get(server.server_port, f"/runs?{query}")[0] == 200
    assert capsys.readouterr().err == ""


def test_a_folder_in_place_of_a_file_stops_nothing(server: Server) -> None:
    """Nor does a run that cannot be read at all."""
    for name in ("run.json", "loss.csv", "progress.json", "log.txt"):
        (runs_folder() / "0123456789ab" / name).mkdir(parents=True)

    assert [run["state"] for run in runs(server.server_port)] == ["stopped"]
    assert "log.txt" in opened(server.server_port, "0123456789ab")["log"]


def test_hundreds_of_runs_cost_little(server: Server) -> None:
    """An answer about 200 finished ones takes less than a tenth of a second, on a busy machine."""
    for number in range(200):
        make_run(number, finished=True)
    assert len(runs(server.server_port)) == 200
    start = time.process_time()
    for _ in range(5):
        runs(server.server_port)

    assert (time.process_time() - start) / 5 < 0.1


def test_a_taken_port_names_a_free_one(server: Server) -> None:
    """The message is a command that works."""
    with pytest.raises(ToypipeError, match=f"port {server.server_port} is taken") as caught:
        listen(server.server_port)
    port = int(str(caught.value).rpartition(" ")[2])
    with listen(port) as other:
        assert other.server_port == port


def test_what_is_no_port_is_refused() -> None:
    """By the command line."""
    command = [sys.executable, "-m", "stages", "watch", "--port", "65536"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _goes_on(port: int, epoch: float) -> bool:
    return any(run["epoch"] > epoch for run in runs(port))


def test_a_training_is_seen_to_begin_to_die_and_to_go_on(project: Project) -> None:
    """Killed without a warning it is stopped within seconds; called again it is running."""
    project.forget()
    port = free_port()
    command = [sys.executable, "-m", "stages", "train", "-S", "train.epochs=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "stages", "watch", "--port", str(port)],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith(f"http://127.0.0.1:{port} ")
        seen = [0.0]
        for _ in range(2):
            with subprocess.Popen(command, cwd=project.path, stderr=subprocess.DEVNULL) as training:
                assert await_(lambda: _goes_on(port, seen[-1] + 2), 60)
                assert runs(port)[0]["state"] == "running"
                await_(lambda: list(project.path.glob(".toypipe/runs/*/state.pt")), 30)
                training.kill()
            assert await_(lambda: [run["state"] for run in runs(port)] == ["stopped"], 5)
            seen.append(runs(port)[0]["epoch"])
        watch.send_signal(signal.SIGINT)
        rest = watch.stdout.read()

    assert (watch.returncode, rest) == (0, "")
