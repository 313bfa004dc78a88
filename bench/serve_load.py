"""The retrieval service under load, killed and started again: is anything wrong answered, and do the clients recover?

`igsearch serve-retrieval` runs in a process of its own over synthetic passages. Clients, each with connections of its
own, ask at random (1 to 8 queries, 1 to 10 passages) as fast as they are answered, and compare every answer with that
of the same index in this process, scores included. Meanwhile the server is killed (SIGKILL) every few seconds and
started again after a moment. A client has recovered from a kill with its first right answer after the next start.

It prints what was asked, retried and killed, answers that were wrong, searches that failed for good, clients that did
not recover, and the peak memory of the server's process, Java included. Exit code 1 where something was wrong.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import synthetic

from igsearch.config import RetrievalConfig
from igsearch.records import Hit
from igsearch.retrieval.base import RetrieverError
from igsearch.retrieval.client import RemoteRetriever
from igsearch.retrieval.lucene import LuceneRetriever, build
from igsearch.retrieval.service import listen

PASSAGES, QUERIES, DEEPEST, LARGEST = 5000, 1000, 10, 8
CONFIG = RetrievalConfig(k=3, heap="256m")


class Server:
    """The command, started as often as it is killed, always at the same port."""

    def __init__(self, index: Path) -> None:
        with listen("127.0.0.1", 0, None) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "igsearch", "serve-retrieval", "--index", str(index)]
        self._command += ["--port", str(self.port), "--set", f"retrieval.heap={CONFIG.heap}"]
        self.peaks: list[int] = []
        self.started: list[float] = []
        self.start()

    def start(self) -> None:
        """Return when it is ready."""
        environment = {key: value for key, value in os.environ.items() if key != "IGSEARCH_RETRIEVAL_TOKEN"}
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self._process.stderr
        said = self._process.stderr.readline()
        if self.url not in said:
            raise RuntimeError(f"the server did not start: {said}{self._process.stderr.read()}")
        self.started.append(time.monotonic())

    def kill(self) -> None:
        """SIGKILL, after a look at its peak memory."""
        self.note_peak()
        self._process.kill()
        self._process.communicate()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit code and what it said."""
        self.note_peak()
        self._process.terminate()
        said = self._process.communicate(timeout=60)[1]
        return self._process.returncode, said

    def note_peak(self) -> None:
        """VmHWM, in bytes, of the process that runs now."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        self.peaks += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]

    def cpu_seconds(self) -> float:
        """Of the process that runs now."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


@dataclass
class Client:
    """One of the many. `answered` are the times of its right answers, `seconds` what each took."""

    number: int
    remote: RemoteRetriever
    answered: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    queries: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)

    def work(self, asked: Sequence[str], truth: Sequence[Sequence[Hit]], until: threading.Event) -> None:
        """Ask until told to stop, and once more then."""
        draw = random.Random(self.number)
        while not until.is_set():
            self.ask(asked, truth, draw)
        self.ask(asked, truth, draw)

    def ask(self, asked: Sequence[str], truth: Sequence[Sequence[Hit]], draw: random.Random) -> None:
        """One search, compared with the truth."""
        chosen = draw.sample(range(len(asked)), draw.randint(1, LARGEST))
        k, begin = draw.randint(1, DEEPEST), time.monotonic()
        try:
            rows = self.remote.search([asked[place] for place in chosen], k)
        except RetrieverError as error:
            self.failures.append(str(error))
            return
        end = time.monotonic()
        if rows != [list(truth[place][:k]) for place in chosen]:
            self.wrong += 1
            return
        self.queries += len(chosen)
        self.answered.append(end)
        self.seconds.append(end - begin)


def campaign(server: Server, seconds: float, every: float, draw: random.Random) -> list[float]:
    """Kill and start the server for so long, the last time no later than two pauses before the end; times of kills."""
    end, kills = time.monotonic() + seconds, []
    while time.monotonic() + 2 * every < end:
        time.sleep(every * draw.uniform(0.5, 1.5))
        server.kill()
        kills.append(time.monotonic())
        time.sleep(draw.uniform(0, 1.5))
        server.start()
    time.sleep(max(0.0, end - time.monotonic()))
    return kills


def recoveries(server: Server, clients: Sequence[Client]) -> tuple[int, list[float]]:
    """How many clients had no right answer from the last server, and for each server after the first the seconds from
    its start until the last client that comes back has one."""
    lost, waits = 0, []
    for begin in server.started[1:]:
        firsts = [next((time for time in client.answered if time >= begin), None) for client in clients]
        lost = firsts.count(None)
        waits.append(max((first - begin for first in firsts if first is not None), default=0.0))
    return lost, waits


def run(index: Path, seconds: float, count: int, every: float) -> dict[str, Any]:
    """The load over an index; the figures."""
    own = LuceneRetriever(index, CONFIG)
    asked = list(synthetic.queries(QUERIES, own.card["passages"]))
    truth = own.search(asked, DEEPEST)
    server, until = Server(index), threading.Event()
    clients = [Client(number, RemoteRetriever(server.url, index=own.digest)) for number in range(count)]
    threads = [threading.Thread(target=client.work, args=(asked, truth, until)) for client in clients]
    for thread in threads:
        thread.start()
    kills = campaign(server, seconds, every, random.Random(0))
    until.set()
    for thread in threads:
        thread.join()
    code, said = server.stop()
    lost, waits = recoveries(server, clients)
    return figures(clients) | {
        "seconds": seconds,
        "clients": count,
        "kills": len(kills),
        "not recovered": lost,
        "recoveries s": [round(wait, 1) for wait in waits],
        "peak memory of each server MB": [round(peak / 1e6) for peak in server.peaks],
        "exit code after SIGTERM": code,
        "last words": said.strip(),
    }


def figures(clients: Sequence[Client]) -> dict[str, Any]:
    """What the clients saw, together."""
    counts: Counter[str] = Counter()
    for client in clients:
        counts.update(client.remote.counts())
    seconds = sorted(second for client in clients for second in client.seconds)
    return {
        "searches answered": len(seconds),
        "queries answered": sum(client.queries for client in clients),
        **{name.removeprefix("remote_"): count for name, count in counts.items() if count},
        "wrong answers": sum(client.wrong for client in clients),
        "failed searches": sum(len(client.failures) for client in clients),
        "median s": round(statistics.median(seconds), 3),
        "99 % s": round(seconds[len(seconds) * 99 // 100], 3),
        "longest s": round(seconds[-1], 2),
    }


def main() -> int:
    """Run it; 1 where an answer was wrong, a search failed or a client did not recover."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the clients ask")
    parser.add_argument("--clients", type=int, default=64, help="how many ask at the same time")
    parser.add_argument(
        "--every", type=float, default=10.0, help="seconds from a server's start to its kill, on average"
    )
    parser.add_argument("--passages", type=int, default=PASSAGES, help="passages in the index")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        corpus = synthetic.write_lines(Path(folder) / "corpus.jsonl", synthetic.passages(given.passages))
        build(corpus, Path(folder) / "index", CONFIG)
        found = run(Path(folder) / "index", given.seconds, given.clients, given.every)
    print(json.dumps(found) if given.json else "\n".join(f"{name:30} {value}" for name, value in found.items()))
    return int(bool(found["wrong answers"] or found["failed searches"] or found["not recovered"]))


if __name__ == "__main__":
    sys.exit(main())
