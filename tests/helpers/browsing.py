"""Pages for a browser, and what it shows of them."""

import numpy as np
import torch

from helpers.pages import encoded
from qfm_metric.folder.row import Row
from qfm_metric.html.scores import ReportWriter
from qfm_metric.overlay import draw_overlay, save_overlay


def rows(count, overlay):
    """Scores from 0 to 1 in an order that is neither of the sorted ones; every 50th has a map."""
    for i in range(count):
        score = (i * 7919 % count) / max(1, count - 1)
        yield Row(f"p{i}.jpg", score, None, 10 + i, 10, extra={} if i % 50 else {"map": str(overlay)})


def write(path, count, *more):
    """Write a page of `count` pictures and `more` rows; returns its path."""
    overlay = save_overlay(draw_overlay(torch.rand(3, 6, 8), torch.rand(1, 3, 4)), "x.png", path.parent)
    with ReportWriter(path, title="Fifty", signature="qfm_metric 9.9") as report:
        for row in (*rows(count, overlay), *more):
            report.add(row, encoded("JPEG"))
    return path


def scores(page):
    """Of all cards: `text_content`, because `inner_text` is empty where the browser has not yet drawn a card."""
    return [float(text) for text in page.locator(".card .foot b").all_text_contents()]


def names(page):
    """Of all cards."""
    return [card.get_attribute("title") for card in page.locator(".card").all()]


def groups(page):
    return [text.strip() for text in page.locator("#groups label").all_text_contents()]


def status(page):
    return page.locator("#status").inner_text()


def columns(page):
    return int(page.locator("#grid").evaluate("grid => grid.style.getPropertyValue('--columns')"))


def focused(page):
    return page.evaluate("document.activeElement.title || document.activeElement.id")


def wait_for_status(page, text):
    """After what the browser does in a later task: a form's reset."""
    page.wait_for_function("text => document.getElementById('status').innerText === text", arg=text)


def wait_for_focus(page, name):
    """After what the browser does in a later task: a dialog's end."""
    page.wait_for_function("name => document.activeElement.title === name", arg=name)


def contrast(page, selector, around):
    """WCAG's, of a text and what is behind it."""
    style = "element => [getComputedStyle(element).color, getComputedStyle(element.closest('{}')).backgroundColor]"
    ink, paper = map(luminance, page.locator(selector).first.evaluate(style.format(around)))
    return (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)


def luminance(colour):
    """WCAG's, of `rgb(r, g, b)`."""
    parts = np.array([float(part) for part in colour[4:-1].split(",")]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]
