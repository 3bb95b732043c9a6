"""What pictures are taken for: flat, or equirectangular as panoramas of the whole sphere are."""

PROJECTIONS = ("auto", "flat", "equirect")
"""`auto`: equirectangular where a file's GPano properties say so, and it can be placed on the sphere; else flat."""


def check_projection(projection: str, tile: int | None = None) -> None:
    """Refuse what is no projection, and tiles of a sphere.

    Raises:
        ValueError: names the option.
    """
    if projection not in PROJECTIONS:
        raise ValueError(f"projection: expected one of {', '.join(PROJECTIONS)}, got {projection!r}")
    if projection == "equirect" and tile is not None:
        raise ValueError("projection: expected flat pictures with tiles, got equirect; leave one of the two out")
