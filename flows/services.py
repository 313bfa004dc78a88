"""The three processes behind `make up`: Prefect's server, the served deployments and the MLflow UI, on 127.0.0.1.

They are known by process id and start time (.run/services.json), and only these are ever ended.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from igsearch.errors import UserError
from igsearch.provenance import write_json

RUN = Path(".run")
STATE = RUN / "services.json"
HOST = "127.0.0.1"
SERVING = "polling for scheduled runs"
_PATIENCE = 180.0
_PREFECT, _SERVE, _MLFLOW = "Prefect server", "deployments", "MLflow UI"

Entry = dict[str, object]


def ports() -> dict[str, int]:
    """The ports of the two servers, by the variable that changes them."""
    return {name: int(os.environ.get(name, port)) for name, port in (("PREFECT_PORT", 4200), ("MLFLOW_PORT", 5000))}


def environment(prefect_port: int) -> dict[str, str]:
    """This environment, with Prefect's server and home in it and nothing that reports home."""
    return {
        **os.environ,
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_HOME": str(Path(".prefect").resolve()),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONUNBUFFERED": "1",
    }


def require_free(port: int, variable: str) -> None:
    """UserError where something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port} is in use; end what uses it or choose another with {variable}=…") from error


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a server answers there with success."""
    try:
        with urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def start(arguments: list[str], log: Path, prefect_port: int) -> "subprocess.Popen[bytes]":
    """Start `python -m …` in a session of its own, its output in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(prefect_port),
            start_new_session=True,
        )


def wait_for(process: "subprocess.Popen[bytes]", what: str, log: Path, url: str | None, text: str | None) -> None:
    """Until `url` answers, or `text` stands in the log. UserError where the process ends before, or time runs out."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if (url and answers(url)) or (text and text in log.read_text(encoding="utf-8", errors="replace")):
            return
        if process.poll() is not None:
            raise UserError(f"{what} ended with exit code {process.returncode}; see {log}")
        time.sleep(0.2)
    raise UserError(f"{what} did not answer within {_PATIENCE:.0f} seconds; see {log}")


def start_prefect(port: int, log: Path) -> "subprocess.Popen[bytes]":
    """Prefect's server, once it is healthy."""
    process = start(["prefect", "server", "start", "--host", HOST, "--port", str(port)], log, port)
    try:
        wait_for(process, _PREFECT, log, f"http://{HOST}:{port}/api/health", None)
    except BaseException:
        end(process.pid)
        raise
    return process


def start_mlflow(port: int, prefect_port: int, log: Path) -> "subprocess.Popen[bytes]":
    """MLflow's UI over the project's store, once it is healthy."""
    from igsearch import tracking

    tracking.open_store()  # makes the schema, which several of the server's workers could not do at once
    store = [
        "--backend-store-uri",
        tracking.tracking_uri(),
        "--artifacts-destination",
        str(tracking.FOLDER / "artifacts"),
    ]
    arguments = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", *store]
    process = start(arguments, log, prefect_port)
    try:
        wait_for(process, _MLFLOW, log, f"http://{HOST}:{port}/health", None)
    except BaseException:
        end(process.pid)
        raise
    return process


def start_serving(prefect_port: int, log: Path) -> "subprocess.Popen[bytes]":
    """The deployments, once they are polled."""
    process = start(["flows.serve"], log, prefect_port)
    try:
        wait_for(process, _SERVE, log, None, SERVING)
    except BaseException:
        end(process.pid)
        raise
    return process


def _entry(name: str, process: "subprocess.Popen[bytes]", address: str) -> Entry:
    return {"name": name, "pid": process.pid, "born": psutil.Process(process.pid).create_time(), "address": address}


def running() -> list[Entry]:
    """The services of an earlier `up` that are still alive."""
    try:
        listed: list[Entry] = json.loads(STATE.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    return [each for each in listed if _alive(each)]


def _alive(entry: Entry) -> bool:
    try:
        process = psutil.Process(int(str(entry["pid"])))
        return process.create_time() == entry["born"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(pid: int) -> None:
    """End a process and those it started: SIGINT, wait, SIGTERM, wait, SIGKILL."""
    try:
        top = psutil.Process(pid)
        family = [*top.children(recursive=True), top]
    except psutil.NoSuchProcess:
        return
    for number, patience, targets in (
        (signal.SIGINT, 10, [top]),
        (signal.SIGTERM, 5, family),
        (signal.SIGKILL, 5, family),
    ):
        for process in targets:
            if process.is_running():
                process.send_signal(number)
        _, family = psutil.wait_procs(family, timeout=patience)
        if not family:
            return


def up() -> None:
    """Start all three, wait until each is healthy and print the addresses. UserError where a port is in use."""
    already = running()
    if already:
        show(already)
        return
    wanted = ports()
    for variable, port in wanted.items():
        require_free(port, variable)
    prefect, mlflow = wanted["PREFECT_PORT"], wanted["MLFLOW_PORT"]
    entries: list[Entry] = []
    try:
        server = start_prefect(prefect, RUN / "prefect.log")
        entries.append(_entry(_PREFECT, server, f"http://{HOST}:{prefect}"))
        entries.append(_entry(_MLFLOW, start_mlflow(mlflow, prefect, RUN / "mlflow.log"), f"http://{HOST}:{mlflow}"))
        entries.append(
            _entry(_SERVE, start_serving(prefect, RUN / "serve.log"), "igsearch/full-benchmark and the stages")
        )
    except BaseException:
        for entry in reversed(entries):
            end(int(str(entry["pid"])))
        raise
    write_json(STATE, entries)
    show(entries)


def down() -> None:
    """End what `up` started."""
    for entry in reversed(running()):
        end(int(str(entry["pid"])))
        print(f"{entry['name']}: ended")
    STATE.unlink(missing_ok=True)


def show(entries: list[Entry]) -> None:
    """Print what runs where."""
    for entry in entries:
        print(f"{entry['name']}: {entry['address']}")


@contextmanager
def prefect_api() -> Iterator[None]:
    """PREFECT_API_URL for the block: the server of `up` where it runs, else one for this block alone."""
    there = [entry for entry in running() if entry["name"] == _PREFECT]
    port = int(str(there[0]["address"]).rpartition(":")[2]) if there else free_port()
    process = None if there else start_prefect(port, RUN / "prefect.log")
    os.environ.update(
        {key: value for key, value in environment(port).items() if key.startswith(("PREFECT_", "DO_NOT"))}
    )
    try:
        yield
    finally:
        if process:
            end(process.pid)


def main() -> None:
    """`python -m flows.services up|down`"""
    try:
        {"up": up, "down": down}[sys.argv[1]]()
    except UserError as error:
        sys.exit(_complain(error))


def _complain(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
