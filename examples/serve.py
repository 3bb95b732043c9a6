"""An HTTP service: send a picture, get its score or its quality map.

    python examples/serve.py --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/score
    curl --data-binary @photo.jpg http://127.0.0.1:8000/map -o map.png
    curl http://127.0.0.1:8000/health

Needs `pip install "qfm-metric[serve]"`. The body of a request is the file as it is. What is too large, too slow or too
much at once is refused while it comes, and nothing is written to the disk.
"""

import argparse
import asyncio
import functools
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from qfm_metric import ImageError, QFMScore, WeightsError
from qfm_metric.images import open_image, read_pixels
from qfm_metric.overlay import draw_overlay
from qfm_metric.rating import Views
from qfm_metric.scale import band

NAME = "the picture"  # what errors call it
RETRY = "5"  # s, for who comes while all places are taken
Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """What is asked of requests.

    Attributes:
        megabytes: Of a file, at most.
        megapixels: Of a picture, at most; known from its header, before it is decoded.
        upload_seconds: For the whole body to arrive.
        score_seconds: From there to the answer.
        workers: Pictures that are decoded and scored at the same time.
        waiting: Requests at the same time, those that are being uploaded or wait for a worker included.
    """

    megabytes: float = 20.0
    megapixels: float = 50.0
    upload_seconds: float = 30.0
    score_seconds: float = 60.0
    workers: int = 2
    waiting: int = 64


class Service:
    """Scores what requests bring, some at a time; the others wait, and who finds no place is told to come back."""

    def __init__(self, metric: QFMScore, limits: Limits) -> None:
        self.metric, self.limits = metric, limits
        self.threads = ThreadPoolExecutor(limits.workers)
        self.requests = self.working = 0

    async def answer(self, request: Request, work: Callable[[bytes], Result]) -> Result:
        """Read a request's picture and do the work on it.

        Raises:
            HTTPException: 408 too slow, 413 too large, 415 a form, 422 no picture, 503 no place or no time.
        """
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            raise HTTPException(
                415, "expected the file itself as the request's body, got a form; curl: --data-binary @FILE"
            )
        if self.requests >= self.limits.waiting:
            raise HTTPException(503, "all places are taken; come back later", {"Retry-After": RETRY})
        self.requests += 1
        try:
            data = await self._read(request)
            return await self._do(work, data)
        finally:
            self.requests -= 1

    async def _read(self, request: Request) -> bytes:
        most = int(self.limits.megabytes * 1e6)
        too_large = HTTPException(413, f"expected at most {most:,} bytes", {"Connection": "close"})
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise too_large

        async def body() -> bytes:
            data = bytearray()
            async for part in request.stream():
                data += part
                if len(data) > most:
                    raise too_large
            return bytes(data)

        try:
            return await asyncio.wait_for(body(), self.limits.upload_seconds)
        except asyncio.TimeoutError as error:
            seconds = self.limits.upload_seconds
            raise HTTPException(
                408, f"expected the whole file within {seconds:g} seconds", {"Connection": "close"}
            ) from error
        except ClientDisconnect as error:  # nobody hears the answer
            raise HTTPException(400, "the upload ended early") from error

    async def _do(self, work: Callable[[bytes], Result], data: bytes) -> Result:
        if not data:
            raise HTTPException(422, "expected the bytes of a picture as the request's body, got none")
        done = asyncio.get_running_loop().run_in_executor(self.threads, functools.partial(self._work, work, data))
        try:  # a thread cannot be stopped: its place is free again when it ends
            return await asyncio.wait_for(asyncio.shield(done), self.limits.score_seconds)
        except asyncio.TimeoutError as error:
            done.add_done_callback(lambda ended: ended.exception())  # whatever it is, nobody waits for it
            raise HTTPException(503, "no time for this picture; come back later", {"Retry-After": RETRY}) from error
        except ImageError as error:
            raise HTTPException(422, str(error)) from error

    def _work(self, work: Callable[[bytes], Result], data: bytes) -> Result:
        self.working += 1
        try:
            with torch.inference_mode():
                return work(data)
        finally:
            self.working -= 1

    def look(self, data: bytes) -> tuple[Views, int, int]:
        """What the network looks at, and the picture's width and height."""
        with open_image(NAME, data) as image:
            if image.width * image.height > self.limits.megapixels * 1e6:
                raise ImageError(
                    f"expected at most {self.limits.megapixels:g} megapixels, got {image.width} x {image.height}"
                )
            pixels = read_pixels(image)
        return self.metric.look(pixels), pixels.shape[1], pixels.shape[0]

    def score(self, data: bytes) -> dict[str, Any]:
        """The answer of /score."""
        views, width, height = self.look(data)
        found = self.metric.rate([views])[0]
        std = None if found.std is None else round(found.std, 4)
        return {"score": round(found.score, 4), "std": std, "band": band(found.score), "width": width, "height": height}

    def map(self, data: bytes) -> bytes:
        """The answer of /map: a PNG of the quality map over the picture."""
        views, width, height = self.look(data)
        found = self.metric.rate([views], maps=True)[0]
        if found.quality_map is None:
            raise ImageError("expected weights that have a quality map")
        file = io.BytesIO()
        draw_overlay(self.metric.show(views, (height, width)), found.quality_map, found.score).save(file, "PNG")
        return file.getvalue()


def build(metric: QFMScore, limits: Limits) -> FastAPI:
    """The application."""
    service = Service(metric, limits)
    app = FastAPI(title="qfm-metric", docs_url=None, redoc_url=None)  # their pages load scripts from elsewhere

    @app.post("/score")
    async def score(request: Request) -> dict[str, Any]:
        return await service.answer(request, service.score)

    @app.post("/map")
    async def quality_map(request: Request) -> Response:
        return Response(await service.answer(request, service.map), media_type="image/png")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        state = {"requests": service.requests, "working": service.working, "places": limits.waiting}
        return {"status": "ok", "signature": metric.signature, **state}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, which others cannot reach")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--weights", metavar="ID", help="weights id, file, saved folder or org/name[@revision]")
    parser.add_argument("--device", default="cpu")
    for name, value in vars(Limits()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, metavar="N")
    args = parser.parse_args()

    limits = Limits(**{name: getattr(args, name) for name in vars(Limits())})
    if not all(0 < value < float("inf") for value in vars(limits).values()):
        parser.error("expected limits above 0")
    if not 0 <= args.port <= 65535:
        parser.error(f"--port: expected 0 to 65535, got {args.port}")
    torch.set_num_threads(1 if limits.workers > 1 else torch.get_num_threads())
    try:
        metric = QFMScore.from_pretrained(args.weights).to(args.device)
    except (WeightsError, RuntimeError, AssertionError) as error:  # the last two: no such device here
        parser.error(str(error).partition("\n")[0])
    uvicorn.run(build(metric, limits), host=args.host, port=args.port, log_level="warning", timeout_keep_alive=5)


if __name__ == "__main__":
    main()
