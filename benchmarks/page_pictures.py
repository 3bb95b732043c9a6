"""Pictures of the command's pages, taken in headless Chromium, for the documents."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageFilter

from qfm_metric.images import load_image
from qfm_metric.train.distortions.simple import degrade

PHOTOS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "motorcycle_left", "rocket")
Change = Callable[[Image.Image], Image.Image]
CHANGES: dict[str, Change] = {
    "": lambda picture: picture,
    "_blur1": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "_blur4": lambda picture: picture.filter(ImageFilter.GaussianBlur(4)),
    "_jpeg20": lambda picture: _coded(picture, 20),
    "_jpeg5": lambda picture: _coded(picture, 5),
    "_noise": lambda picture: Image.fromarray(degrade(_pixels(picture), "noise", 0.6)),
}


def write_photos(folder: Path) -> None:
    """The folder that the page of docs/report.md shows: photographs, what spoils them, and a file that is none."""
    folder.mkdir()
    for name in PHOTOS:
        path = next((Path(skimage.__path__[0]) / "data").glob(f"{name}.*"))
        photo = Image.fromarray((load_image(path) * 255).byte().permute(1, 2, 0).numpy())
        for suffix, change in CHANGES.items():
            change(photo).save(folder / f"{name}{suffix}.png")
    (folder / "notes.png").write_text("no picture\n")


def take_picture(page: Path, path: Path, size: tuple[int, int]) -> None:
    """Write the upper part of a page, `(width, height)` px, as JPEG."""
    with _browser() as shoot:
        shoot(page, size, "light").save(path, quality=85)


def take_both_colours(page: Path, path: Path, size: tuple[int, int], scale: float) -> None:
    """As `take_picture`, light on the left and dark on the right, reduced by `scale`."""
    with _browser() as shoot:
        light, dark = (shoot(page, size, scheme) for scheme in ("light", "dark"))
    edge = round(0.617 * size[0])  # between two pictures of the page
    light.paste(dark.crop((edge, 0, *size)), (edge, 0))
    reduced = light.resize([round(scale * side) for side in size], Image.Resampling.LANCZOS)
    reduced.save(path, quality=85)


@contextmanager
def _browser() -> Iterator[Callable[[Path, tuple[int, int], str], Image.Image]]:
    """A function that shows a page in a window of a size and in a colour scheme, and returns what it looks like."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise FileNotFoundError("expected chromium; apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def shoot(page: Path, size: tuple[int, int], scheme: str) -> Image.Image:
            window = {"width": size[0], "height": size[1]}
            shown = browser.new_page(viewport=window, color_scheme=scheme)
            shown.goto(page.resolve().as_uri(), wait_until="networkidle")
            shot = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
            shown.close()
            return shot

        yield shoot
        browser.close()


def _coded(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)
