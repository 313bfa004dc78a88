"""`igsearch serve-retrieval`: the index over HTTP."""

from typing import Annotated

import typer

from igsearch.cli import show
from igsearch.cli.data import INDEX, PANEL, IndexFolder
from igsearch.cli.options import Profile, Sets, configuration, positive
from igsearch.retrieval.limits import LIMITS, Limits


def serve_retrieval(
    index: IndexFolder = INDEX,
    host: Annotated[
        str, typer.Option(help="Interface; one that other machines reach needs a token in IGSEARCH_RETRIEVAL_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.")] = LIMITS.body_bytes,
    max_queries: Annotated[int, typer.Option(help="Queries of a request.")] = LIMITS.queries,
    max_query_characters: Annotated[int, typer.Option(help="Characters of a query.")] = LIMITS.query_characters,
    max_topk: Annotated[int, typer.Option(help="Passages for a query.")] = LIMITS.topk,
    max_passages: Annotated[int, typer.Option(help="Passages of an answer: queries times topk.")] = LIMITS.passages,
    workers: Annotated[int, typer.Option(help="Requests in work at a time.")] = LIMITS.workers,
    waiting: Annotated[int, typer.Option(help="Requests that may wait; more are answered 429.")] = LIMITS.waiting,
    profile: Profile = None,
    sets: Sets = None,
) -> None:
    """Serve an index over HTTP: POST /retrieve as Search-R1's server, /healthz, /readyz. Ctrl-C or SIGTERM ends it."""
    numbers = {
        "--max-body": max_body,
        "--max-queries": max_queries,
        "--max-query-characters": max_query_characters,
        "--max-topk": max_topk,
        "--max-passages": max_passages,
        "--workers": workers,
        "--waiting": waiting,
    }
    for option, value in numbers.items():
        positive(value, option)
    config = configuration(profile, sets).retrieval
    from igsearch.retrieval import service as http
    from igsearch.retrieval import wire
    from igsearch.retrieval.lucene import LuceneRetriever

    limits = Limits(max_body, max_queries, max_query_characters, max_topk, max_passages, workers, waiting)
    token = wire.token()
    bound = http.listen(host, port, token)
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    service = http.Service(limits, config)

    def ready() -> None:
        about = service.about()
        show.say(f"{about['passages']} passages at {address}/retrieve, index {about['index']}")

    http.run(service, lambda: LuceneRetriever(index, config), bound, token, ready)
    show.say("stopped")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(serve_retrieval)
