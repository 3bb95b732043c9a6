"""Packages of nothing but their metadata, in a folder that is the only place where uv looks for packages."""

import io
import tarfile
import zipfile

ABOUT = "Metadata-Version: 2.2\nName: {}\nVersion: {}\n"


def look_only_in(folder, monkeypatch):
    """Let uv find packages in a folder, and nowhere else."""
    places = {"FIND_LINKS": folder, "CACHE_DIR": folder / "cache"}
    for name, value in ({"OFFLINE": 1, "NO_CONFIG": 1} | places).items():
        monkeypatch.setenv(f"UV_{name}", str(value))


def make_wheel(folder, name, tag="py3-none-any", version="1", needs=()):
    about = ABOUT.format(name, version) + "".join(f"Requires-Dist: {need}\n" for need in needs)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")


def make_sdist(folder, name, version="1"):
    content = ABOUT.format(name, version).encode()
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for path, data in (("PKG-INFO", content), ("pyproject.toml", b"")):
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
