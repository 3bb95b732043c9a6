"""What stands in a page, read as data."""

import io
import json
import re

from PIL import Image


def block(page, name):
    """The JSON block of a page."""
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', page, flags=re.DOTALL)[1])


def read_page(path):
    """The page's text, what stands around the cards, and the cards."""
    text = path.read_text(encoding="utf-8")
    return text, block(text, "page-data"), block(text, "card-data")


def encoded(form, colour=(200, 30, 30), size=(8, 6)):
    """A picture's bytes."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()
