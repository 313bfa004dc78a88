"""The retriever of training and evaluation: Lucene, behind a cache, behind patience."""

from pathlib import Path

from igsearch.config import RetrievalConfig
from igsearch.retrieval import jvm
from igsearch.retrieval.base import Retriever
from igsearch.retrieval.cache import Cached
from igsearch.retrieval.lucene import LuceneRetriever
from igsearch.retrieval.patient import Patient


def open_retriever(index_dir: Path, config: RetrievalConfig) -> Retriever:
    """BM25 over an index. The cache stands behind patience, so that what comes too late is still kept.

    UserError where there is no index, it is damaged, or its corpus has changed since.
    """
    lucene = LuceneRetriever(index_dir, config)
    cached = Cached(lucene, lucene.digest, config.cache_size) if config.cache_size else lucene
    return Patient(cached, config.timeout_s, config.attempts, at_thread_end=jvm.detach)
