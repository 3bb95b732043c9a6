"""Readers of photographs as taken, and of generated pictures: nobody degraded them on purpose, mostly.

Every reader takes the folder of a data set in its official layout and returns a row per picture: absolute path, MOS in
[0, 1] with higher for better, group (the picture itself unless contents repeat), subset where the set has parts, and
the official split where there is one. All raise `DataError`, which names the file or the line that is off.
"""

from pathlib import Path

from .labels import Scale, by_name, complete, first_of, mat_values, need, same_length, sheet_records
from .table import DataError, Row, csv_records

BIQ2021 = Scale(0, 1)
KONIQ10K = Scale(0, 100)
LIVE_CHALLENGE = Scale(0, 100)
SPAQ = Scale(0, 100)
FLIVE = Scale(0, 100)
AGIQA3K = Scale(0, 5)
UHD_IQA = Scale(0, 1)

SPLITS = {"training": "train", "validation": "val", "test": "test"}  # in KonIQ-10k's and UHD-IQA's words


def read_biq2021(root: Path) -> list[Row]:
    """BIQ2021: `Images/`, `Train (Images and MOS).csv`, `Test (Images and MOS).csv`.

    Source: the authors' GitHub repository nisarahmedrana/BIQ2021 (N. Ahmed and S. Asif, 2022). MOS in [0, 1]. The
    subset is the first word of the file name (ss01, ss02, ss03); near-duplicates share no group until `regroup`.
    """
    layout = "BIQ2021's official layout: Images/ beside the Train and Test (Images and MOS).csv"
    on_disk = by_name([root / "Images"], layout)
    rows: list[Row] = []
    for split in ("train", "test"):
        table = root / f"{split.capitalize()} (Images and MOS).csv"
        part = []
        for where, record in csv_records(table, ["Image Name", "MOS"], layout):
            name = record["Image Name"]
            image = on_disk.get(name.lower(), root / "Images" / name)  # one published name differs in case
            mos, subset = BIQ2021.mos(record["MOS"], where), name.partition(" ")[0]
            part.append(Row(str(image.resolve()), mos, name, subset, split))
        rows += complete(part, table)
    return rows


def read_biq2021_test(folder: Path) -> tuple[list[Row], set[str]]:
    """BIQ2021's test part alone: `images/` and `scores.csv` with `image,mos,subset,duplicate_in_train`.

    Returns:
        The rows, and the groups that the training part shares (each near-duplicate's own name stands for its group).
    """
    layout = "scores.csv (image,mos,subset,duplicate_in_train) beside images/"
    table = folder / "scores.csv"
    rows, seen = [], set()
    for where, record in csv_records(table, ["image", "mos", "subset", "duplicate_in_train"], layout):
        name = record["image"]
        image = str(folder / "images" / name)
        rows.append(Row(image, BIQ2021.mos(record["mos"], where), name, record["subset"], "test"))
        if record["duplicate_in_train"] == "1":
            seen.add(name)
    return complete(rows, table), seen


def read_koniq10k(root: Path) -> list[Row]:
    """KonIQ-10k: `1024x768/` (or `512x384/`) and `koniq10k_distributions_sets.csv`, which has the official split.

    Source: database.mmsp-kn.de, the KonIQ-10k page, and the authors' GitHub repository subpic/koniq (V. Hosu et al.,
    2020). The page's own `koniq10k_scores_and_distributions.csv` is read where the other is not there: the same scores
    in its column MOS_zscore (its MOS is on 1..5), no split. Scores on 0..100.
    """
    layout = "KonIQ-10k's official layout: 1024x768/ or 512x384/ beside koniq10k_distributions_sets.csv"
    table = first_of([root / "koniq10k_distributions_sets.csv", root / "koniq10k_scores_and_distributions.csv"], layout)
    images = first_of([root / "1024x768", root / "512x384"], layout)
    has_sets = table.name.endswith("_sets.csv")
    score = "MOS" if has_sets else "MOS_zscore"
    rows = []
    for where, record in csv_records(table, ["image_name", score, *(["set"] if has_sets else [])], layout):
        name = record["image_name"]
        split = _split(record["set"], where) if has_sets else ""
        rows.append(Row(str((images / name).resolve()), KONIQ10K.mos(record[score], where), name, "", split))
    return complete(rows, table)


def read_live_challenge(root: Path) -> list[Row]:
    """LIVE In the Wild Image Quality Challenge (CLIVE): `Images/`, `Data/AllImages_release.mat`, `AllMOS_release.mat`.

    Source: the archive ChallengeDB_release and its readme, live.ece.utexas.edu (D. Ghadiyaram and A. Bovik, 2016). MOS
    on 0..100. The first 7 of the 1,169 entries are pictures that observers practised on; the set is the rest.
    """
    layout = "the official layout of ChallengeDB_release: Images/ beside Data/AllImages_release.mat"
    table = root / "Data" / "AllMOS_release.mat"
    names = mat_values(root / "Data" / "AllImages_release.mat", "AllImages_release", layout)
    scores = mat_values(table, "AllMOS_release", layout)
    same_length({"AllImages_release.mat": names, str(table): scores})
    images = need(root / "Images", layout)
    rows = [
        Row(str((images / name).resolve()), LIVE_CHALLENGE.mos(score, f"{table}, entry {number}"), name)
        for number, (name, score) in enumerate(zip(names, scores, strict=True), start=1)
        if number > 7
    ]
    return complete(rows, table)


def read_spaq(root: Path) -> list[Row]:
    """SPAQ: `TestImage/` and `Annotations/MOS and Image attribute scores.xlsx`, MOS on 0..100, no official split.

    Source: the authors' GitHub repository h4nwei/SPAQ (Y. Fang et al., CVPR 2020).
    """
    layout = "SPAQ's official layout: TestImage/ beside Annotations/MOS and Image attribute scores.xlsx"
    table = root / "Annotations" / "MOS and Image attribute scores.xlsx"
    images = need(root / "TestImage", layout)
    rows = []
    for where, record in sheet_records(table, ["Image name", "MOS"], layout):
        name = str(record["Image name"])
        rows.append(Row(str((images / name).resolve()), SPAQ.mos(record["MOS"], where), name))
    return complete(rows, table)


def read_flive(root: Path) -> list[Row]:
    """FLIVE (LIVE-FB, PaQ-2-PiQ): the folder `database` with `labels_image.csv` and the pictures that it lists.

    Source: the authors' GitHub repositories niu-haoran/FLIVE_Database and baidut/PaQ-2-PiQ (Z. Ying et al., CVPR 2020).
    MOS on 0..100; patches are not read. The subset is the folder (blur_dataset, voc_emotic_ava, EE371R). The official
    split is read where its two files are there too: `labels640.csv` lists the test pictures (larger than 640 px),
    `labels<=640_padded.csv` marks the validation pictures with `is_valid`.
    """
    layout = "FLIVE's official layout: labels_image.csv in the folder `database`, beside the folders of pictures"
    table = root / "labels_image.csv"
    of_split = _flive_splits(root, layout)
    rows = []
    for where, record in csv_records(table, ["name", "mos"], layout):
        name = record["name"]
        split = of_split.get(name, "train") if of_split else ""
        rows.append(Row(str((root / name).resolve()), FLIVE.mos(record["mos"], where), name, name.split("/")[0], split))
    return complete(rows, table)


def read_agiqa3k(root: Path) -> list[Row]:
    """AGIQA-3K: `data.csv` and the pictures of AGIQA-3K.zip, in any folder below.

    Source: the authors' GitHub repository lcysyzxdxc/AGIQA-3k-Database (C. Li et al., 2023); how its archive unpacks is
    not documented, so pictures are found by name. `mos_quality` on 0..5; alignment with the prompt is not read. The
    group is the prompt: ten pictures show the same. The subset is the generator and setting (`midjourney_lowstep`).
    """
    layout = "AGIQA-3K's official layout: data.csv beside the pictures or the folder with them"
    table = root / "data.csv"
    columns = ["name", "prompt", "mos_quality"]
    records = list(csv_records(table, columns, layout))
    on_disk = by_name([root, *(path for path in root.rglob("*") if path.is_dir())], layout)
    rows = []
    for where, record in records:
        name = record["name"]
        image = on_disk.get(name.lower(), root / name)
        mos = AGIQA3K.mos(record["mos_quality"], where)
        rows.append(Row(str(image.resolve()), mos, record["prompt"], name.rpartition("_")[0]))
    return complete(rows, table)


def read_uhd_iqa(root: Path) -> list[Row]:
    """UHD-IQA: `uhd-iqa-metadata.csv` and the folders `training/`, `validation/`, `test/`: the official split.

    Source: database.mmsp-kn.de, the page of the UHD-IQA benchmark database (V. Hosu et al., 2024). `quality_mos` in
    [0, 1]; the subset is the set's own, which only validation and test pictures have.
    """
    layout = "UHD-IQA's official layout: uhd-iqa-metadata.csv beside training/, validation/ and test/"
    table = root / "uhd-iqa-metadata.csv"
    rows = []
    for where, record in csv_records(table, ["image_name", "quality_mos", "set", "subset"], layout):
        name, split = record["image_name"], _split(record["set"], where)
        image = str((root / record["set"] / name).resolve())
        rows.append(Row(image, UHD_IQA.mos(record["quality_mos"], where), name, record["subset"], split))
    return complete(rows, table)


def _split(word: str, where: str) -> str:
    if word not in SPLITS:
        raise DataError(f"{where}: expected the set to be one of {', '.join(SPLITS)}, got {word!r}")
    return SPLITS[word]


def _flive_splits(root: Path, layout: str) -> dict[str, str]:
    """The split of every picture outside the training part; empty where neither file is there."""
    test = root / "labels640.csv"
    # Some systems refuse "<" in a file name, and copies lose it.
    names = [root / "labels<=640_padded.csv", root / "labels=640_padded.csv"]
    if not any(path.exists() for path in (test, *names)):
        return {}
    found = {record["name_image"]: "test" for _, record in csv_records(test, ["name_image"], layout)}
    for where, record in csv_records(first_of(names, layout), ["name_image", "is_valid"], layout):
        if record["is_valid"] not in ("True", "False"):
            raise DataError(f"{where}: expected is_valid to be True or False, got {record['is_valid']!r}")
        if record["is_valid"] == "True":
            found[record["name_image"]] = "val"
    return found
