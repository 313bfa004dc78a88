"""The seven benchmarks on the Hugging Face hub: which repository, configuration and split, how many questions, and what
licence its card names.

A revision must be pinned: a commit hash in `data.revisions.<dataset id>`. None is built in, as none could be looked up
when this was written; a name such as `main` is refused, as it may mean other questions tomorrow. No code from the hub
is run. Counts are checked, so a revision with other questions than the published tables used is noticed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from igsearch.benchmarks.files import Record
from igsearch.errors import UserError, nearest

_FLASHRAG = "RUC-NLPIR/FlashRAG_datasets"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Source:
    """A benchmark in a repository of the hub. `splits`: by our name, its name there and the number of its questions.

    `count` is None where no source states the number.
    """

    dataset: str
    config: str | None
    splits: Mapping[str, tuple[str, int | None]]
    licence: str


def _flashrag(config: str, licence: str, **splits: tuple[str, int | None]) -> Source:
    return Source(_FLASHRAG, config, splits, licence)


_NO_LICENCE = "not stated by its card"
PAPER: Mapping[str, Source] = {
    "nq": _flashrag("nq", "CC BY-SA 3.0", train=("train", 79_168), validation=("dev", 8_757), test=("test", 3_610)),
    "triviaqa": _flashrag(
        "triviaqa", _NO_LICENCE, train=("train", 78_785), validation=("dev", 8_837), test=("test", 11_313)
    ),
    "popqa": _flashrag("popqa", _NO_LICENCE, test=("test", 14_267)),
    "hotpotqa": _flashrag("hotpotqa", "CC BY-SA 4.0", train=("train", 90_447), test=("dev", 7_405)),
    "2wikimultihopqa": _flashrag("2wikimultihopqa", "Apache-2.0", train=("train", 15_000), test=("dev", 12_576)),
    "musique": _flashrag("musique", "CC BY 4.0", train=("train", 19_938), test=("dev", 2_417)),
    "bamboogle": _flashrag("bamboogle", _NO_LICENCE, test=("test", 125)),
}
"""What the papers use: FlashRAG's conversions, split by the rule of this line of work (test, else dev)."""

ORIGINAL: Mapping[str, Source] = {
    "nq": Source(
        "google-research-datasets/nq_open",
        "nq_open",
        {"train": ("train", 87_925), "test": ("validation", 3_610)},
        "CC BY-SA 3.0",
    ),
    "triviaqa": Source("mandarjoshi/trivia_qa", "unfiltered.nocontext", {"test": ("validation", 11_313)}, _NO_LICENCE),
    "popqa": Source("akariasai/PopQA", None, {"test": ("test", 14_267)}, _NO_LICENCE),
    "hotpotqa": Source(
        "hotpotqa/hotpot_qa",
        "distractor",
        {"train": ("train", 90_447), "test": ("validation", 7_405)},
        "CC BY-SA 4.0",
    ),
    "2wikimultihopqa": Source("xanhho/2WikiMultihopQA", None, {"test": ("dev", 12_576)}, "Apache-2.0"),
    "musique": Source(
        "dgslibisey/MuSiQue", None, {"train": ("train", 19_938), "test": ("validation", 2_417)}, "CC BY 4.0"
    ),
    "bamboogle": Source("chiayewken/bamboogle", None, {"test": ("test", 125)}, _NO_LICENCE),
}
"""The benchmarks as their authors, or those who put them on the hub, publish them."""


def find(dataset: str, benchmark: str) -> Source:
    """The source of a benchmark in a repository of the hub; UserError where it is not known to have that benchmark."""
    known = {source.dataset: source for source in (PAPER[benchmark], ORIGINAL[benchmark])}
    if dataset not in known:
        raise UserError(f"{dataset!r} is no file and no known dataset of {benchmark} {nearest(dataset, known)}")
    return known[dataset]


def pinned(dataset: str, revisions: Mapping[str, str]) -> str:
    """The commit hash pinned for a dataset; UserError where there is none, or a name that can move."""
    revision = revisions.get(dataset, "")
    if not _COMMIT.fullmatch(revision):
        raise UserError(
            f"pin {dataset} to a revision: set data.revisions.{dataset} to the 40-digit hash of a commit from "
            f"https://huggingface.co/datasets/{dataset}/commits/main" + (f", not {revision!r}" if revision else "")
        )
    return revision


def load(source: Source, split: str, revision: str) -> Iterator[Record]:
    """The rows of a split, as the repository has them.

    A folder of the dataset's name in the working directory stands in for the hub, as always in the datasets library.

    Raises UserError where the hub cannot be reached, has no such revision, or has another number of questions.
    """
    import datasets

    if split not in source.splits:
        raise UserError(f"{source.dataset} has no {split} split of this benchmark {nearest(split, source.splits)}")
    name, count = source.splits[split]
    try:
        rows = datasets.load_dataset(source.dataset, source.config, split=name, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error) or type(error).__name__).split("\n")[0]
        raise UserError(f"cannot load {source.dataset} ({name}) at {revision} from the hub: {reason}") from error
    if count is not None and len(rows) != count:
        raise UserError(f"{source.dataset} ({name}) at {revision} has {len(rows)} questions instead of {count}")
    for number, row in enumerate(rows, 1):
        yield Record(row, f"{source.dataset} ({name}), row {number}")
