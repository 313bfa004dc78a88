"""The small corpus of tests/passages.py, and its index."""

from pathlib import Path

import passages
import pytest

from igsearch.config import RetrievalConfig
from igsearch.retrieval.lucene import LuceneRetriever, build


@pytest.fixture(scope="session")
def config() -> RetrievalConfig:
    return RetrievalConfig(k=3)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return passages.write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl")


@pytest.fixture(scope="session")
def index(corpus: Path, config: RetrievalConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("index") / "index"
    build(corpus, out, config)
    return out


@pytest.fixture(scope="session")
def retriever(index: Path, config: RetrievalConfig) -> LuceneRetriever:
    return LuceneRetriever(index, config)
