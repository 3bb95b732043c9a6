"""Readers of sets that degrade reference pictures on purpose: the group is the reference, the subset the distortion.

Every reader takes the folder of a data set in its official layout and returns a row per degraded picture: absolute path
and MOS in [0, 1] with higher for better; no split, since none of these sets has one. References are not rows: nobody
scored them. All raise `DataError`, which names the file or the line that is off.
"""

import re
from pathlib import Path

from .labels import Scale, by_name, complete, mat_values, need, same_length, sheet_records, text_lines
from .table import DataError, Row, csv_records

KADID10K = Scale(1, 5)  # published as DMOS, yet higher is better: the mean of ratings from 1 (worst) to 5 (no loss)
TID2008 = Scale(0, 9)
TID2013 = Scale(0, 9)
CSIQ = Scale(0, 1, higher_is_better=False)
LIVE = Scale(0, 100, higher_is_better=False)
LIVE_REALIGNED = Scale(-3, 112, higher_is_better=False)  # realignment moves a few scores past both ends of 0..100
PIPAL = Scale(916, 1836)  # Elo has no range of its own: this is the published scores', 916.7 to 1836.0, rounded out

LIVE_PARTS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}  # in the order of the scores
CSIQ_FILES = {  # what the files of the workbook's types are called; the folder is the same in lower case
    "noise": "AWGN",
    "blur": "BLUR",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "jpeg": "JPEG",
    "jpeg 2000": "jpeg2000",
}


def read_kadid10k(root: Path) -> list[Row]:
    """KADID-10k: `images/` and `dmos.csv`; the subset is the number of the distortion, 1 to 25.

    Source: database.mmsp-kn.de, the KADID-10k page (H. Lin, V. Hosu, D. Saupe, QoMEX 2019).
    """
    layout = "KADID-10k's official layout: images/ beside dmos.csv"
    table = root / "dmos.csv"
    images = need(root / "images", layout)
    rows = []
    for where, record in csv_records(table, ["dist_img", "ref_img", "dmos"], layout):
        name, reference = record["dist_img"], Path(record["ref_img"]).stem
        kind = _kind(name, r"I\d+_(\d+)_\d+\.png", where)
        rows.append(Row(str((images / name).resolve()), KADID10K.mos(record["dmos"], where), reference, kind))
    return complete(rows, table)


def read_tid2008(root: Path) -> list[Row]:
    """TID2008: as TID2013, which grew out of it; distortions 1 to 17 at four levels.

    Source: ponomarenko.info/tid2008.htm (N. Ponomarenko et al., 2009). MOS on 0..9. Both sets distort the same 25
    references: do not train on one and test on the other.
    """
    return _read_tid(root, "TID2008", TID2008)


def read_tid2013(root: Path) -> list[Row]:
    """TID2013: `distorted_images/` and `mos_with_names.txt`; the subset is the number of the distortion, 1 to 24.

    Source: ponomarenko.info/tid2013.htm (N. Ponomarenko et al., 2015). MOS on 0..9. Names are in mixed case, in the
    list and on disk.
    """
    return _read_tid(root, "TID2013", TID2013)


def read_csiq(root: Path) -> list[Row]:
    """CSIQ: `dst_imgs/` with a folder per distortion, and `csiq.DMOS.xlsx`; the subset is the workbook's `dst_type`.

    Source: the authors' page (E. Larson and D. Chandler, 2010; now at s2.smu.edu/~eclarson/csiq.html). DMOS in [0, 1],
    lower is better; of the workbook's sheets `all_by_image` has the final scores.
    """
    layout = "CSIQ's official layout: dst_imgs/awgn/ and so on, beside csiq.DMOS.xlsx"
    table = root / "csiq.DMOS.xlsx"
    images = need(root / "dst_imgs", layout)
    on_disk = by_name(sorted(path for path in images.iterdir() if path.is_dir()), layout)
    rows = []
    for where, record in sheet_records(table, ["image", "dst_type", "dst_lev", "dmos"], layout, "all_by_image"):
        reference, kind = _text(record["image"]), str(record["dst_type"])
        if kind not in CSIQ_FILES:
            raise DataError(f"{where}: expected dst_type to be one of {', '.join(CSIQ_FILES)}, got {kind!r}")
        name = f"{reference}.{CSIQ_FILES[kind]}.{_text(record['dst_lev'])}.png"
        image = on_disk.get(name.lower(), images / CSIQ_FILES[kind].lower() / name)
        rows.append(Row(str(image.resolve()), CSIQ.mos(record["dmos"], where), reference, kind))
    return complete(rows, table)


def read_live(root: Path) -> list[Row]:
    """LIVE release 2 with the scores of its archive: a folder per distortion, `dmos.mat`, `refnames_all.mat`.

    Source: the archive databaserelease2 and its readme, live.ece.utexas.edu (H. Sheikh et al., 2006). DMOS on 0..100,
    lower is better. Papers mostly report on the realigned scores: `read_live_realigned`.
    """
    return _read_live(root, "dmos.mat", "dmos", LIVE)


def read_live_realigned(root: Path) -> list[Row]:
    """LIVE release 2 with `dmos_realigned.mat` beside the archive's files: scores realigned across the sessions.

    Source: the database's page at live.ece.utexas.edu, which offers the file apart from the archive.
    """
    return _read_live(root, "dmos_realigned.mat", "dmos_new", LIVE_REALIGNED)


def read_pipal(root: Path) -> list[Row]:
    """PIPAL, the part whose scores are public: `Train_Label/*.txt`, `Distortion_1/` to `Distortion_4/`.

    Source: the authors' project page and GitHub repository HaomingCai/PIPAL-dataset (J. Gu et al., ECCV 2020). Elo
    scores, higher is better. The subset is the number of the distortion's kind: 0 to 6.
    """
    layout = "PIPAL's official layout: Train_Label/ beside Distortion_1/ to Distortion_4/"
    labels = need(root / "Train_Label", layout)
    on_disk = by_name([root / f"Distortion_{part}" for part in range(1, 5)], layout)
    rows = []
    for table in sorted(labels.glob("*.txt")):
        for where, line in text_lines(table, layout):
            name, _, score = (part.strip() for part in line.partition(","))
            kind = _kind(name, r"A\d+_(\d+)_\d+\.bmp", where)
            image = on_disk.get(name.lower(), root / "Distortion_1" / name)
            rows.append(Row(str(image.resolve()), PIPAL.mos(score, where), name.split("_")[0], kind))
    return complete(rows, labels)


def _read_tid(root: Path, name_of_set: str, scale: Scale) -> list[Row]:
    layout = f"{name_of_set}'s official layout: distorted_images/ beside mos_with_names.txt"
    table = root / "mos_with_names.txt"
    rows = []
    on_disk = by_name([root / "distorted_images"], layout)
    for where, line in text_lines(table, layout):
        score, _, name = (part.strip() for part in line.partition(" "))
        kind = _kind(name, r"I\d+_(\d+)_\d+\.bmp", where)
        image = on_disk.get(name.lower(), root / "distorted_images" / name)
        rows.append(Row(str(image.resolve()), scale.mos(score, where), name.split("_")[0].lower(), kind))
    return complete(rows, table)


def _read_live(root: Path, scores_file: str, variable: str, scale: Scale) -> list[Row]:
    layout = f"the official layout of LIVE release 2: {', '.join(LIVE_PARTS)} beside {scores_file}, refnames_all.mat"
    table = root / scores_file
    scores = mat_values(table, variable, layout)
    copies = mat_values(table, "orgs", layout)
    references = mat_values(root / "refnames_all.mat", "refnames_all", layout)
    total = sum(LIVE_PARTS.values())
    same_length({str(table): scores, f"orgs in {scores_file}": copies, "refnames_all.mat": references}, total)
    files = [
        (part, need(root / part, layout) / f"img{number}.bmp")
        for part, count in LIVE_PARTS.items()
        for number in range(1, count + 1)
    ]
    rows = [
        Row(str(image.resolve()), scale.mos(score, f"{table}, entry {entry}"), Path(reference).stem, part)
        for entry, ((part, image), score, copy, reference) in enumerate(
            zip(files, scores, copies, references, strict=True), start=1
        )
        if not copy  # `orgs` marks undegraded copies of the references among the distorted pictures
    ]
    return complete(rows, table)


def _kind(name: str, pattern: str, where: str) -> str:
    """The number of the distortion in a picture's name, without leading zeros."""
    match = re.fullmatch(pattern, name, re.IGNORECASE)
    if not match:
        raise DataError(f"{where}: expected the name of a picture like {pattern}, got {name!r}")
    return str(int(match[1]))


def _text(value: object) -> str:
    # The workbook has names that are numbers, such as 1600.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
