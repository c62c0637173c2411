"""A page and a JSON endpoint for one predictor.

    GET  /                             the page
    GET  /card                         the model card, as text
    POST /predict?name=features.csv    a table or a clip as the body; answers in JSON

Requests share nothing. An upload is read from a temporary folder, which is removed
before the answer is sent.
"""

import asyncio
import json
import math
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ifusion.corpora.names import file_name
from ifusion.inference.clips import ENDINGS, why_no_clips
from ifusion.inference.files import predict_path
from ifusion.inference.predictor import Predictor
from ifusion.terminal import print_result, printable

PAGE = Path(__file__).with_name("page.html")
TABLES = (".csv", ".arff", ".parquet", ".npz")
AT_ONCE = 2  # predictions; others wait
GRACE = 2  # [s] that Ctrl-C leaves to running requests
HEADERS = {  # the page loads nothing from elsewhere
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class RefusedError(Exception):
    """A request that is refused; the message is one sentence.

    Attributes:
      status: the HTTP status.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def make_app(
    predictor: Predictor,
    *,
    limit: int = 20_000_000,
    seconds: float = 60.0,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
) -> Starlette:
    """Builds the application.

    Args:
      predictor: of one modality.
      limit: largest upload [byte].
      seconds: [s] that an upload or a prediction may take.
      hosts: names under which the page answers. It refuses others, so that no website
        can reach it under a name of its own.
    """
    workers = ThreadPoolExecutor(AT_ONCE)
    no_clips = why_no_clips(predictor)
    endings = TABLES if no_clips else (*TABLES, *sorted(ENDINGS))

    async def page(request: Request) -> Response:
        return HTMLResponse(fill_page(predictor, endings), headers=HEADERS)

    async def card(request: Request) -> Response:
        text = predictor.card or "This model has no card."
        return PlainTextResponse(text, headers=HEADERS)

    async def predict(request: Request) -> Response:
        try:
            name = _check_name(request.query_params.get("name", ""), no_clips)
            async with asyncio.timeout(seconds):
                data = await _read_body(request, limit)
            upload = Upload(name, data)
            try:
                async with asyncio.timeout(seconds):
                    content = await asyncio.get_running_loop().run_in_executor(
                        workers, upload.predict, predictor
                    )
            finally:
                upload.stop()
        except TimeoutError:
            return _refuse(503, f"it took longer than {seconds:g} s; send less at once")
        except asyncio.CancelledError:
            return _refuse(503, "the server has been stopped")
        except RefusedError as error:
            return _refuse(error.status, str(error))
        except (ValueError, OSError) as error:
            return _refuse(422, str(error))
        except Exception as error:  # a damaged file may cause any
            kind = type(error).__name__
            return _refuse(422, f"{name}: it cannot be predicted ({kind})")
        return Response(json.dumps(content), 200, HEADERS, "application/json")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/card", card),
            Route("/predict", predict, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )


def serve(app: Starlette, host: str, port: int) -> None:
    """Prints the address, and serves until Ctrl-C or SIGTERM.

    Raises:
      OSError: the address cannot be bound to; the message names it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        number = error.errno or 0  # below 0 if the name is unknown
        reason = os.strerror(number) if number > 0 else error.strerror
        raise OSError(f"cannot serve on {host}, port {port}: {reason}") from None
    place = f"[{host}]" if ":" in host else host
    print_result(f"http://{place}:{port}; Ctrl-C ends it")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # it has ended all requests by then
        server.run(sockets=[listening])


class Upload:
    """A table or clip that was uploaded, to be predicted in a thread.

    Args:
      name: of the file; its ending gives the format.
      data: contents of the file.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data
        self._path: Path | None = None

    def predict(self, predictor: Predictor) -> dict[str, Any]:
        """Predicts it, for JSON.

        Returns:
          {"targets", "classes", "notes", "rows": how many, "columns": {name: values}}.

        Raises:
          ValueError: it does not fit the predictor; the message has the name of the
            upload.
        """
        with TemporaryDirectory(prefix="ifusion-") as folder:
            self._path = path = Path(folder) / self._name
            path.write_bytes(self._data)
            try:
                predicted = predict_path(predictor, path)
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), self._name)) from None
        return {
            "targets": list(predictor.targets),
            "classes": list(predictor.classes),
            "notes": [note.replace(str(path), self._name) for note in predicted.notes],
            "rows": len(predicted.table),
            "columns": {
                name: _listed(predicted.table[name]) for name in predicted.table
            },
        }

    def stop(self) -> None:
        """Empties the file: nothing ends a thread, but reading a clip ends there."""
        if self._path is not None:
            with suppress(OSError):  # it is done, and the file is gone
                os.truncate(self._path, 0)


def fill_page(predictor: Predictor, endings: Sequence[str]) -> str:
    """Fills in the page: what the model predicts, and the files that it takes."""
    names = next(iter(predictor.features.values()))
    facts = {
        "TITLE": str(predictor.about.get("title", predictor.system)),
        "MAIN": " and ".join(predictor.features),
        "TARGETS": " and ".join(predictor.targets),
        "COLUMNS": ", ".join(names),
        "COUNT": str(len(names)),
        "ENDINGS": ",".join(endings),
        "CLIPS": ",".join(predictor.features) if set(endings) - set(TABLES) else "",
    }
    text = PAGE.read_text("utf-8")
    for key, value in facts.items():
        text = text.replace(f"@{key}@", escape(value))
    return text


def _check_name(name: str, no_clips: str) -> str:
    """Returns a safe name with the same ending, or refuses it."""
    ending, shown = Path(name).suffix.lower(), repr(printable(name[:80]))
    if ending in ENDINGS and no_clips:
        raise RefusedError(415, f"{shown}: clips cannot be read here: {no_clips}")
    if ending not in TABLES and ending not in ENDINGS:
        expected = ", ".join(TABLES) + ("" if no_clips else ", or as a clip does")
        raise RefusedError(415, f"{shown}: expected a name ending in {expected}")
    safe = file_name(Path(name).name)
    return f"{Path(safe).stem[:60]}{Path(name).suffix.lower()}"


async def _read_body(request: Request, limit: int) -> bytes:
    """Reads at most `limit` bytes."""
    too_large = RefusedError(413, f"the file is larger than {limit / 1e6:g} MB")
    with suppress(ValueError):
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > limit:
                raise too_large
    except ClientDisconnect:
        raise RefusedError(400, "the upload was cut off") from None
    if not data:
        raise RefusedError(422, "the file is empty")
    return bytes(data)


def _refuse(status: int, sentence: str) -> Response:
    return JSONResponse({"error": printable(sentence)}, status, HEADERS)


def _listed(column: pd.Series) -> list[Any]:
    """Returns values for JSON, numbers with six digits."""
    values = column.tolist()
    if not values or isinstance(values[0], str):
        return values
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]
