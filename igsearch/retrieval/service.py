"""BM25 search over HTTP: one process holds the index, many ask. The forms are those of igsearch.retrieval.wire.

Whatever comes in is bounded: bodies, queries, their length, passages, the time in which a body has to arrive and an
answer has to be taken, and above all the requests that are in work or wait. A request takes one of these places before
its body is read and gives it back once its answer is sent; where none is free it is answered at once with 429. So
memory grows with the limits and not with the clients.
"""

import asyncio
import hmac
import ipaddress
import logging
import math
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from igsearch.config import RetrievalConfig
from igsearch.errors import UserError
from igsearch.retrieval import wire
from igsearch.retrieval.base import RetrieverError
from igsearch.retrieval.limits import Limits
from igsearch.retrieval.lucene import LuceneRetriever

_AGAIN = {"Retry-After": "1"}
_PIECE = 1 << 16  # bytes of an answer that are handed to the connection at a time
_KEEP_ALIVE_S = 65
_OPEN_PATHS = {"/healthz"}

_log = logging.getLogger(__name__)


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True)

    queries: list[str]
    topk: int | None = None
    return_scores: bool = False


class Service:
    """An index, the threads that search it, and the places of the requests that are in work or wait for them."""

    def __init__(self, limits: Limits, config: RetrievalConfig) -> None:
        """`config.k` is for requests without topk. Nothing is found before `open`."""
        self.limits, self._config = limits, config
        self._retriever: LuceneRetriever | None = None
        self._pool = ThreadPoolExecutor(limits.workers, "retrieval")
        self._idle = asyncio.Semaphore(limits.workers)
        self._places = limits.workers + limits.waiting

    async def open(self, opener: Callable[[], LuceneRetriever]) -> LuceneRetriever:
        """Have an index opened in one of the threads. Raises what the opener raises."""
        self._retriever = await asyncio.get_running_loop().run_in_executor(self._pool, opener)
        return self._retriever

    def close(self) -> None:
        """Let the threads go, without waiting for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def retriever(self) -> LuceneRetriever:
        """The index; HTTP 503 while it is not open."""
        if self._retriever is None:
            raise HTTPException(503, "the index is not open yet; try again", _AGAIN)
        return self._retriever

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests in work and waiting; HTTP 429 where all are taken."""
        if not self._places:
            raise HTTPException(429, "all places are taken; try again", _AGAIN)
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    async def body(self, request: Request) -> bytes:
        """The body of a request; HTTP 413 where it is too long, 408 where it does not arrive."""
        most = self.limits.body_bytes
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.client_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise HTTPException(413, f"the body is longer than {most} bytes; send fewer queries at a time")
        except ClientDisconnect as error:
            raise HTTPException(400, "the client hung up") from error
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not arrive within {self.limits.client_s:g} seconds") from error
        return bytes(body)

    def asked(self, body: bytes) -> tuple[list[str], int, bool]:
        """Queries, k and whether scores are wanted; HTTP 422 with one sentence for what is malformed or too much."""
        try:
            asked = _Asked.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise HTTPException(422, f"{field}: {first['msg']}" if field else first["msg"]) from error
        k = self._config.k if asked.topk is None else asked.topk
        if complaint := self._too_much(asked.queries, k):
            raise HTTPException(422, complaint)
        return asked.queries, k, asked.return_scores

    def _too_much(self, queries: list[str], k: int) -> str | None:
        limits = self.limits
        if not 1 <= k <= limits.topk:
            return f"topk must be from 1 to {limits.topk}, not {k}"
        if len(queries) > limits.queries:
            return f"{len(queries)} queries are more than {limits.queries}; send fewer at a time"
        if len(queries) * k > limits.passages:
            return f"{len(queries)} queries times {k} passages are more than {limits.passages}; send fewer at a time"
        long = next((place for place, query in enumerate(queries) if len(query) > limits.query_characters), None)
        return None if long is None else f"queries.{long} is longer than {limits.query_characters} characters"

    def about(self) -> dict[str, Any]:
        """What the index is: the digest of all that hits depend on, its corpus, how many passages, k1 and b."""
        found, config = self.retriever, self._config
        card = {name: found.card[name] for name in ("corpus", "passages")}
        return {"index": found.digest, **card, "k1": config.k1, "b": config.b}

    async def answer(self, request: Request) -> bytes:
        """The body of the answer, searched for and written in a thread."""
        retriever = self.retriever
        queries, k, scores = self.asked(await self.body(request))
        async with self._idle:
            if await request.is_disconnected():  # whoever gave up while it waited asks again, and that is enough
                return b""
            search = asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: wire.reply(retriever.search(queries, k), scores)
            )
            return await search


class _Paced(Response):
    """An answer sent piece by piece: a client that does not read keeps its place, not memory, and not for long."""

    def __init__(self, body: bytes, index: str, client_s: float) -> None:
        super().__init__(body, media_type="application/json", headers={wire.INDEX_HEADER: index})
        self._client_s = client_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. TimeoutError where a piece is not taken in time."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), _PIECE):
            async with asyncio.timeout(self._client_s):
                piece = self.body[start : start + _PIECE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


class _Places:
    """Gives every request for passages a place, from before its body is read until its answer is sent."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/retrieve":
            await self._app(scope, receive, send)
            return
        try:
            with self._service.place():
                await self._app(scope, receive, send)
        except HTTPException as full:
            await _sentence(full.status_code, full.detail, full.headers)(scope, receive, send)
        except TimeoutError:
            _log.warning("a client did not take its answer; its connection is closed")


class _Door:
    """Lets nobody in without the token, or, where there is none, under another name than that of this machine.

    The latter keeps web pages out whose name was made to point to 127.0.0.1 (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS and (refusal := self._refusal(scope)):
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1")
            return None if is_own_name(host) else _sentence(403, "without a token only localhost is answered")
        expected = f"Bearer {self._token}".encode()
        if hmac.compare_digest(headers.get(b"authorization", b""), expected):
            return None
        return _sentence(401, "send the token as `Authorization: Bearer`", {"WWW-Authenticate": "Bearer"})


def is_own_name(host: str) -> bool:
    """Whether a Host header names this machine itself: localhost or a loopback address, with or without port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _sentence(status: int, detail: str, headers: Any = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def application(service: Service, token: str | None) -> FastAPI:
    """The endpoints. With a token, all but /healthz ask for it."""
    app = FastAPI(title="igsearch retrieval", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_Places, service=service)
    app.add_middleware(_Door, token=token)

    @app.post("/retrieve")
    async def retrieve(request: Request) -> Response:
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > service.limits.body_bytes:
            raise HTTPException(413, f"the body is longer than {service.limits.body_bytes} bytes")
        body = await service.answer(request)
        return _Paced(body, service.retriever.digest, service.limits.client_s)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> dict[str, Any]:
        return {"status": "ready", **service.about()}

    @app.exception_handler(RetrieverError)
    async def failed(request: Request, error: RetrieverError) -> Response:
        _log.error("%s", error)
        return _sentence(500, str(error))

    return app


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """A socket bound to an interface, port 0 being any free one. UserError where that is taken, or open to other
    machines without a token."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
    except OSError as error:
        raise UserError(f"--host {host}: {error.strerror}; name an interface of this machine") from error
    if token is None and not ipaddress.ip_address(address[0]).is_loopback:
        raise UserError(
            f"--host {host} is open to other machines; set {wire.TOKEN} to a secret that clients send, or leave it out"
        )
    bound = socket.socket(family, kind, protocol)  # asyncio turns Nagle's delays off only where the protocol is named
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise UserError(f"cannot serve at {host} port {port}: {error.strerror}; choose another --port") from error
    return bound


def server(service: Service, token: str | None) -> uvicorn.Server:
    """The HTTP server around a service; its `serve` takes the socket. It writes no log of accesses."""
    limits = service.limits
    return uvicorn.Server(
        uvicorn.Config(
            application(service, token),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=limits.connections,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(limits.grace_s),
        )
    )


def run(
    service: Service,
    opener: Callable[[], LuceneRetriever],
    bound: socket.socket,
    token: str | None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is in work. The index is opened meanwhile, and `ready` called.

    Raises what `opener` raises, once the server has ended.
    """
    http = server(service, token)
    # for a signal before uvicorn listens to them, and for the one that it sends itself again in the end
    handler = signal.signal(signal.SIGTERM, lambda *_: setattr(http, "should_exit", True))
    try:
        asyncio.run(_run(service, http, opener, bound, ready))
    finally:
        signal.signal(signal.SIGTERM, handler)
        service.close()


async def _run(
    service: Service,
    http: uvicorn.Server,
    opener: Callable[[], LuceneRetriever],
    bound: socket.socket,
    ready: Callable[[], None],
) -> None:
    opening = asyncio.create_task(service.open(opener))
    serving = asyncio.create_task(http.serve([bound]))
    await asyncio.wait((opening, serving), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():  # stopped before; the thread that opens the index goes with the process
        opening.cancel()
        await serving
        return
    if opening.exception():
        http.should_exit = True
    else:
        ready()
    await serving
    opening.result()
