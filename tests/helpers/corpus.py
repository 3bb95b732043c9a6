"""The files that the fuzzer begins with: a small picture in every format and kind of coding that can be written."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from .pictures import srgb_profile
from .tiffs import grey_directory, write_tiff

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


def picture(mode="RGB", size=(40, 24)):
    """A gradient with some noise, which fills the tables of entropy coders."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    planes = [(x * 5 + noise) % 256, (y * 9 + noise) % 256, (x * 3 + y * 3) % 256]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8)).convert(mode)


def write_corpus():
    CORPUS.mkdir(exist_ok=True)
    for name, data in {**_pillow_files(), **_tiff_files()}.items():
        (CORPUS / name).write_bytes(data)


def _encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _pillow_files():
    import pillow_heif
    import pyvips

    rgb, exif = picture(), Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(np.asarray(picture("L")).astype(np.uint16) * 257)
    unit = Image.fromarray((np.asarray(picture("L")) / 255).astype(np.float32))
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "nodes " * 40, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    files = {
        "baseline.jpg": _encode(rgb, "JPEG", exif=exif, icc_profile=srgb_profile()),
        "progressive.jpg": _encode(rgb, "JPEG", progressive=True),
        "grey.jpg": _encode(picture("L"), "JPEG"),
        "restarts.jpg": _encode(rgb, "JPEG", subsampling=0, restart_marker_blocks=2),
        "cmyk.jpg": _encode(picture("CMYK"), "JPEG"),
        "two.mpo": _encode(rgb, "MPO", save_all=True, append_images=[picture()]),
        "rgb.png": _encode(rgb, "PNG", icc_profile=srgb_profile(), exif=exif),
        "text.png": _encode(rgb, "PNG", pnginfo=text),
        "alpha.png": _encode(picture("RGBA"), "PNG"),
        "palette.png": _encode(picture("P"), "PNG", transparency=3),
        "bits.png": _encode(picture("1"), "PNG"),
        "deep.png": _encode(deep, "PNG"),
        "animated.png": _encode(rgb, "PNG", save_all=True, append_images=[picture(size=(40, 24)).rotate(180)]),
        "interlaced.png": pyvips.Image.new_from_array(np.asarray(rgb)).pngsave_buffer(interlace=True),
        "still.gif": _encode(picture("P"), "GIF"),
        "animated.gif": _encode(rgb, "GIF", save_all=True, append_images=[rgb.rotate(180)]),
        "lossy.webp": _encode(rgb, "WEBP", exif=exif, icc_profile=srgb_profile()),
        "lossless.webp": _encode(rgb, "WEBP", lossless=True),
        "alpha.webp": _encode(picture("RGBA"), "WEBP"),
        "animated.webp": _encode(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        "rgb.avif": _encode(rgb, "AVIF", exif=exif),
        "alpha.avif": _encode(picture("RGBA"), "AVIF"),
        "rgb.jp2": _encode(rgb, "JPEG2000"),
        "lossy.j2k": _encode(rgb, "JPEG2000", irreversible=True, quality_layers=[20], no_jp2=True),
        "palette.bmp": _encode(picture("P"), "BMP"),
        "rgb.bmp": _encode(rgb, "BMP"),
        "rgb.dib": _encode(rgb, "DIB"),
        "packed.tga": _encode(picture("RGBA"), "TGA", compression="tga_rle"),
        "several.ico": _encode(picture(size=(32, 32)), "ICO", sizes=[(16, 16), (32, 32)]),
        "one.icns": _wrap_icon(_encode(picture("RGBA", (32, 32)), "PNG")),
        "rgb.pcx": _encode(rgb, "PCX"),
        "rgb.sgi": _encode(rgb, "SGI"),
        "rgb.ppm": _encode(rgb, "PPM"),
        "deep.pgm": _encode(deep, "PPM"),
        "bits.pbm": _encode(picture("1"), "PPM"),
        "text.ppm": b"P3 2 1 255\n255 0 0\n0 255 0\n",
        "float.pfm": _encode(unit, "PPM"),
        "bits.xbm": _encode(picture("1"), "XBM"),
        "rgb.dds": _encode(rgb, "DDS"),
        "rgb.im": _encode(rgb, "IM"),
        "float.spider": _encode(unit, "SPIDER"),
    }
    for name, mode in (("rgb.heic", "RGB"), ("alpha.heic", "RGBA")):
        image, file = picture(mode, (64, 48)), io.BytesIO()
        pillow_heif.encode(mode, image.size, image.tobytes(), file, quality=50)
        files[name] = file.getvalue()
    return files


def _wrap_icon(png):
    """ICNS with one picture of 32 x 32 px; Pillow's writer fills 900 kB."""
    return struct.pack(">4sI4sI", b"icns", 16 + len(png), b"ic11", 8 + len(png)) + png


def _tiff_files():
    import tifffile

    rgb = np.asarray(picture())
    grey = rgb[..., 0]
    deep, unit = grey.astype(np.uint16) * 257, (grey / 255).astype(np.float32)
    planes = np.moveaxis(rgb, -1, 0)
    arrays = {
        "lzw": (rgb, {"compression": "lzw", "predictor": True}),
        "deflate": (rgb, {"compression": "deflate", "tile": (16, 16)}),
        "jpeg": (rgb, {"compression": "jpeg"}),
        "planes": (planes, {"planarconfig": "separate", "compression": "packbits"}),
        "deep-planes": (planes.astype(np.uint16) * 257, {"planarconfig": "separate"}),
        "deep": (deep, {"photometric": "miniswhite"}),
        "big-endian": (deep, {"byteorder": ">", "compression": "lzw"}),
        "12-bits": (grey.astype(np.uint16), {"bitspersample": 12}),
        "float": (unit, {"compression": "deflate", "predictor": True, "tile": (16, 16)}),
        "half": (unit.astype(np.float16), {"bigtiff": True}),
        "ccitt": (np.asarray(picture("1")), {}),
    }
    files = {}
    for name, (array, options) in arrays.items():
        file = io.BytesIO()
        colours = "rgb" if array.ndim == 3 else "minisblack"
        tifffile.imwrite(file, array, **{"photometric": colours, "metadata": None, "rowsperstrip": 8, **options})
        files[f"{name}.tif"] = file.getvalue()
    for name, options in (("palette", {}), ("alpha", {}), ("cmyk", {}), ("group4", {"compression": "group4"})):
        mode = {"palette": "P", "alpha": "RGBA", "cmyk": "CMYK", "group4": "1"}[name]
        files[f"{name}.tif"] = _encode(picture(mode), "TIFF", **options)
    path = CORPUS / "thumbnail.tif"
    write_tiff(path, grey_directory(grey[::4, ::4], SUBFILE=1, children=[grey_directory(grey)]))
    files["thumbnail.tif"] = path.read_bytes()
    return files
