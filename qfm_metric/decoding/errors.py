"""The error that pictures raise, and the one limit of their size."""


class ImageError(ValueError):
    """Something cannot be read as a picture: absent, damaged, hostile, or of a wrong kind, shape or range."""


def check_pixels(width: int, height: int) -> None:
    """Refuse what Image.open refuses of the formats that it knows."""
    from PIL import Image  # the error alone is needed by what never opens a picture

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels.")
