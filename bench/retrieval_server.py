"""A server as the rivals of batches: one query a request, over the same searcher, on the standard library alone.

It sends an answer in one packet and at once, keeps connections open, and writes no log.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from igsearch.config import RetrievalConfig
from igsearch.retrieval.lucene import LuceneRetriever

SERVE = """
import sys
from retrieval_server import serve
serve(*sys.argv[1:])
"""
"""Code of the server's process; its arguments are the index and the settings."""


def handler(retriever: LuceneRetriever) -> type[BaseHTTPRequestHandler]:
    """Answers `{"query", "k"}` with a list of `{"id", "title", "text", "score"}`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hits = retriever.search([asked["query"]], asked["k"])[0]
            fields = [(hit.passage.id, hit.passage.title, hit.passage.text, hit.score) for hit in hits]
            rows = [dict(zip(("id", "title", "text", "score"), each, strict=True)) for each in fields]
            body = json.dumps(rows).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    return Handler


def serve(index: str, config: str) -> None:
    """Print the port, then answer until the process is ended."""
    retriever = LuceneRetriever(Path(index), RetrievalConfig.model_validate_json(config))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(retriever))
    print(server.server_address[1], flush=True)
    server.serve_forever()
