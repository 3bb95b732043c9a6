"""Tiny data sets in the official layouts, each with the rows that its reader returns, in closed form."""

import numpy as np
import openpyxl
from PIL import Image
from scipy.io import savemat


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def workbook(path, sheets):
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    book.save(path)


def texts(names, shape):
    return np.array([[name] for name in names], dtype=object).reshape(shape)


# Every builder writes a data set below `root` and returns its rows: (path below root, mos, group, subset, split).


def agiqa3k(root):
    names = ["AttnGAN_normal_000.jpg", "midjourney_lowstep_112.jpg", "sd1.5_normal_000.jpg"]
    for name in names:
        picture(root / "Images" / name)
    text(
        root / "data.csv",
        "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align",
        f"{names[0]},statue of a man,,,,1.25,0.2,4.0,0.6",
        f'{names[1]},"a room, soft lighting",soft lighting,,,5,0.2,0.1,0.6',
        f"{names[2]},statue of a man,,,,0,0.2,4.0,0.6",
    )
    return [
        (f"Images/{names[0]}", 0.25, "statue of a man", "AttnGAN_normal", ""),
        (f"Images/{names[1]}", 1.0, "a room, soft lighting", "midjourney_lowstep", ""),
        (f"Images/{names[2]}", 0.0, "statue of a man", "sd1.5_normal", ""),
    ]


def biq2021(root):
    """With the set's quirks: trailing columns, a name that differs in case on disk."""
    for name in ["ss01 (1).jpg", "ss02 (2).JPG", "ss03 (3).jpg", "ss03 (4).jpg"]:
        picture(root / "Images" / name)
    train = ["Image Name,MOS,,", "ss01 (1).jpg,0.25,,", "ss02 (2).jpg,0.5,,", "ss03 (3).jpg,0.75,,"]
    text(root / "Train (Images and MOS).csv", *train)
    text(root / "Test (Images and MOS).csv", "Image Name,MOS", "ss03 (4).jpg,1")
    return [
        ("Images/ss01 (1).jpg", 0.25, "ss01 (1).jpg", "ss01", "train"),
        ("Images/ss02 (2).JPG", 0.5, "ss02 (2).jpg", "ss02", "train"),
        ("Images/ss03 (3).jpg", 0.75, "ss03 (3).jpg", "ss03", "train"),
        ("Images/ss03 (4).jpg", 1.0, "ss03 (4).jpg", "ss03", "test"),
    ]


def csiq(root):
    """With the set's quirks: three lines above the header, a name that is a number, types in other words and cases."""
    files = ["awgn/1600.AWGN.1.png", "jpeg2000/1600.jpeg2000.5.png", "fnoise/foxy.fnoise.2.png"]
    for name in files:
        picture(root / "dst_imgs" / name)
    final = [
        ["CSIQ", None],
        [None],
        ["DMOS of all"],
        [None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"],
        [None, None, None, 1600, 1, "noise", 1, 0.06, 0.125],
        [None, None, None, 1600, 3, "jpeg 2000", 5, 0.06, 1],
        [None, None, None, "foxy", 4, "fnoise", 2, 0.06, 0.5],
        [None, "a remark below the table"],
    ]
    workbook(root / "csiq.DMOS.xlsx", {"raw": [["image", "dst_type", "dst_lev", "dmos"]], "all_by_image": final})
    return [
        (f"dst_imgs/{files[0]}", 0.875, "1600", "noise", ""),
        (f"dst_imgs/{files[1]}", 0.0, "1600", "jpeg 2000", ""),
        (f"dst_imgs/{files[2]}", 0.5, "foxy", "fnoise", ""),
    ]


def flive(root):
    names = ["voc_emotic_ava/AVA__1.jpg", "blur_dataset/motion0091.jpg", "voc_emotic_ava/EMOTIC__2.jpg", "EE371R/3.jpg"]
    for name in names:
        picture(root / name)
    scores = [75, 0, 50, 100]
    text(root / "labels_image.csv", "name,mos", *(f"{name},{mos}" for name, mos in zip(names, scores, strict=True)))
    text(root / "labels640.csv", "mos_image,name_image,width_image", f"50,{names[2]},1200")
    padded = ["mos_image,name_image,is_valid", f"75,{names[0]},False", f"0,{names[1]},True", f"100,{names[3]},False"]
    text(root / "labels=640_padded.csv", *padded)
    return [
        (names[0], 0.75, names[0], "voc_emotic_ava", "train"),
        (names[1], 0.0, names[1], "blur_dataset", "val"),
        (names[2], 0.5, names[2], "voc_emotic_ava", "test"),
        (names[3], 1.0, names[3], "EE371R", "train"),
    ]


def kadid10k(root):
    """Named DMOS, yet 5 is no visible loss."""
    scores = {"I01_01_01.png": 5, "I01_25_05.png": 1, "I81_09_03.png": 2}
    for name in scores:
        picture(root / "images" / name)
    lines = [f"{name},{name[:3]}.png,{dmos},0.5" for name, dmos in scores.items()]
    text(root / "dmos.csv", "dist_img,ref_img,dmos,var", *lines)
    return [
        ("images/I01_01_01.png", 1.0, "I01", "1", ""),
        ("images/I01_25_05.png", 0.0, "I01", "25", ""),
        ("images/I81_09_03.png", 0.25, "I81", "9", ""),
    ]


def koniq10k(root):
    names = ["10004473376.jpg", "10007357496.jpg", "10007903636.jpg"]
    for name in names:
        picture(root / "1024x768" / name)
    ends = ["105,75,0.5,training", "96,100,0.6,test", "96,0,0.5,validation"]
    lines = [f"{name},0,0,0.25,0.75,0,{end}" for name, end in zip(names, ends, strict=True)]
    text(root / "koniq10k_distributions_sets.csv", "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set", *lines)
    return [
        (f"1024x768/{names[0]}", 0.75, names[0], "", "train"),
        (f"1024x768/{names[1]}", 1.0, names[1], "", "test"),
        (f"1024x768/{names[2]}", 0.0, names[2], "", "val"),
    ]


def live(root, scores_file="dmos.mat", variable="dmos", low=0, high=100):
    """Scores of all 982 places as published, but only the corners of the parts are distorted pictures here."""
    distorted = {0: "jp2k/img1.bmp", 227: "jpeg/img1.bmp", 633: "wn/img174.bmp", 981: "fastfading/img174.bmp"}
    scores, copies = np.zeros((1, 982)), np.ones((1, 982), np.uint8)
    scores[0, list(distorted)] = [low + (high - low) / 4, high, low, low + (high - low) / 2]
    copies[0, list(distorted)] = 0
    references = ["rapids.bmp" if place < 300 else "bikes.bmp" for place in range(982)]
    for name in distorted.values():
        picture(root / name)
    (root / "gblur").mkdir()
    savemat(root / scores_file, {variable: scores, "orgs": copies})
    savemat(root / "refnames_all.mat", {"refnames_all": texts(references, (1, 982))})
    return [
        ("jp2k/img1.bmp", 0.75, "rapids", "jp2k", ""),
        ("jpeg/img1.bmp", 0.0, "rapids", "jpeg", ""),
        ("wn/img174.bmp", 1.0, "bikes", "wn", ""),
        ("fastfading/img174.bmp", 0.5, "bikes", "fastfading", ""),
    ]


def live_realigned(root):
    return live(root, "dmos_realigned.mat", "dmos_new", -3, 112)


def live_challenge(root):
    """The first seven were for practice; they are stored apart."""
    names = [f"t{number}.bmp" for number in range(1, 8)] + ["3.bmp", "723.JPG", "1198.bmp"]
    for name in names[:7]:
        picture(root / "Images" / "trainingImages" / name)
    for name in names[7:]:
        (root / "Images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / "Images" / name, "JPEG" if name.endswith("JPG") else "BMP")
    (root / "Data").mkdir()
    savemat(root / "Data" / "AllImages_release.mat", {"AllImages_release": texts(names, (10, 1))})
    savemat(root / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.array([[9.0] * 7 + [25, 100, 0]])})
    return [
        ("Images/3.bmp", 0.25, "3.bmp", "", ""),
        ("Images/723.JPG", 1.0, "723.JPG", "", ""),
        ("Images/1198.bmp", 0.0, "1198.bmp", "", ""),
    ]


def pipal(root):
    places = {"A0001_00_00.bmp": 1, "A0001_06_12.bmp": 2, "A0002_03_07.bmp": 4}
    for part in range(1, 5):
        (root / f"Distortion_{part}").mkdir(parents=True)
    for name, part in places.items():
        picture(root / f"Distortion_{part}" / name)
    text(root / "Train_Label" / "A0001.txt", "A0001_00_00.bmp,1836", "A0001_06_12.bmp,1146")
    text(root / "Train_Label" / "A0002.txt", "A0002_03_07.bmp,916.0000")
    return [
        ("Distortion_1/A0001_00_00.bmp", 1.0, "A0001", "0", ""),
        ("Distortion_2/A0001_06_12.bmp", 0.25, "A0001", "6", ""),
        ("Distortion_4/A0002_03_07.bmp", 0.0, "A0002", "3", ""),
    ]


def spaq(root):
    scores = {"00001.jpg": 50, "00002.jpg": 12.5, "11125.jpg": 100}
    for name in scores:
        picture(root / "TestImage" / name)
    lines = [["Image name", "MOS", "Brightness"], *([name, mos, 47.4] for name, mos in scores.items()), [None, None]]
    workbook(root / "Annotations" / "MOS and Image attribute scores.xlsx", {"Sheet1": lines})
    return [(f"TestImage/{name}", mos / 100, name, "", "") for name, mos in scores.items()]


def table(root):
    picture(root / "a.png")
    picture(root / "b.png")
    text(root / "table.csv", "image,mos,group,subset,split", "a.png,0.125,g,s,test", "b.png,1,,,")
    return [("a.png", 0.125, "g", "s", "test"), ("b.png", 1.0, "b.png", "", "")]


def tid2008(root):
    """In mixed case on disk, in upper case in the list."""
    for name in ["I01_01_1.bmp", "i04_17_4.bmp"]:
        picture(root / "distorted_images" / name)
    text(root / "mos_with_names.txt", "4.50000 I01_01_1.bmp", "2.25000 I04_17_4.BMP")
    return [
        ("distorted_images/I01_01_1.bmp", 0.5, "i01", "1", ""),
        ("distorted_images/i04_17_4.bmp", 0.25, "i04", "17", ""),
    ]


def tid2013(root):
    """In mixed case, on disk other than in the list."""
    for name in ["I01_01_1.bmp", "i01_24_5.BMP", "I25_08_3.bmp"]:
        picture(root / "distorted_images" / name)
    lines = ["6.75000 I01_01_1.bmp", "0.00000 i01_24_5.bmp", "9.00000 i25_08_3.bmp"]
    text(root / "mos_with_names.txt", *lines)
    return [
        ("distorted_images/I01_01_1.bmp", 0.75, "i01", "1", ""),
        ("distorted_images/i01_24_5.BMP", 0.0, "i01", "24", ""),
        ("distorted_images/I25_08_3.bmp", 1.0, "i25", "8", ""),
    ]


def uhd_iqa(root):
    for name in ["training/1.jpg", "validation/2.jpg", "test/3.jpg"]:
        picture(root / name)
    lines = ["1.jpg,0.25,training,,9", "2.jpg,0.5,validation,macro,9", "3.jpg,1,test,night,9"]
    text(root / "uhd-iqa-metadata.csv", "image_name,quality_mos,set,subset,views", *lines)
    return [
        ("training/1.jpg", 0.25, "1.jpg", "", "train"),
        ("validation/2.jpg", 0.5, "2.jpg", "macro", "val"),
        ("test/3.jpg", 1.0, "3.jpg", "night", "test"),
    ]


BUILDERS = {
    "agiqa3k": agiqa3k,
    "biq2021": biq2021,
    "csiq": csiq,
    "flive": flive,
    "kadid10k": kadid10k,
    "koniq10k": koniq10k,
    "live": live,
    "live-challenge": live_challenge,
    "live-realigned": live_realigned,
    "pipal": pipal,
    "spaq": spaq,
    "table": table,
    "tid2008": tid2008,
    "tid2013": tid2013,
    "uhd-iqa": uhd_iqa,
}

# The parts of every layout. Where the first picture goes, the error names it as listed.
PARTS = {
    "agiqa3k": ["data.csv", "Images/AttnGAN_normal_000.jpg"],
    "biq2021": ["Images", "Train (Images and MOS).csv", "Test (Images and MOS).csv", "Images/ss01 (1).jpg"],
    "csiq": ["csiq.DMOS.xlsx", "dst_imgs", "dst_imgs/awgn/1600.AWGN.1.png"],
    "flive": ["labels_image.csv", "labels640.csv", "labels=640_padded.csv", "EE371R/3.jpg"],
    "kadid10k": ["dmos.csv", "images", "images/I01_01_01.png"],
    "koniq10k": ["koniq10k_distributions_sets.csv", "1024x768", "1024x768/10004473376.jpg"],
    "live": ["dmos.mat", "refnames_all.mat", "gblur", "wn/img174.bmp"],
    "live-challenge": ["Data/AllImages_release.mat", "Data/AllMOS_release.mat", "Images", "Images/3.bmp"],
    "live-realigned": ["dmos_realigned.mat", "refnames_all.mat", "gblur", "wn/img174.bmp"],
    "pipal": ["Train_Label", "Distortion_3", "Distortion_1/A0001_00_00.bmp"],
    "spaq": ["Annotations/MOS and Image attribute scores.xlsx", "TestImage", "TestImage/00001.jpg"],
    "table": ["table.csv", "a.png"],
    "tid2008": ["mos_with_names.txt", "distorted_images", "distorted_images/I01_01_1.bmp"],
    "tid2013": ["mos_with_names.txt", "distorted_images", "distorted_images/I01_01_1.bmp"],
    "uhd-iqa": ["uhd-iqa-metadata.csv", "validation/2.jpg"],
}

# A line of the labels replaced by another, and what is said.
LINES = [
    ("agiqa3k", "data.csv", "statue of a man,,,,1.25", "statue of a man,,,,5.5", r"line 2: .*\[0, 5\], got '5.5'"),
    ("biq2021", "Test (Images and MOS).csv", "jpg,1", "jpg,1.5", r"line 2: .*\[0, 1\], got '1.5'"),
    ("biq2021", "Test (Images and MOS).csv", "Image Name", "Name", "column Image Name is missing"),
    ("flive", "labels_image.csv", "AVA__1.jpg,75", "AVA__1.jpg", "line 2: the line ends before mos"),
    ("flive", "labels=640_padded.csv", "True", "yes", "line 3: expected is_valid"),
    ("kadid10k", "dmos.csv", "I01.png,1,", "I01.png,0.5,", r"line 3: .*\[1, 5\], got '0.5'"),
    ("kadid10k", "dmos.csv", "I01_25_05.png", "I01_25.png", "line 3: expected the name of a picture"),
    ("koniq10k", "koniq10k_distributions_sets.csv", "validation", "valid", "line 4: .*training, validation, test"),
    ("koniq10k", "koniq10k_distributions_sets.csv", "105,75,", "105,nan,", "line 2: .*got 'nan'"),
    ("pipal", "Train_Label/A0002.txt", ",916.0000", " 916", "line 1: expected the name of a picture"),
    ("pipal", "Train_Label/A0001.txt", "1146", "", "line 2: expected a score"),
    ("table", "table.csv", "b.png,1", "b.png,55", "line 3: .*rescale"),
    ("tid2008", "mos_with_names.txt", "4.50000", "9.5", r"line 1: .*\[0, 9\], got '9.5'"),
    ("tid2013", "mos_with_names.txt", "6.75000 ", "I01_01_1.bmp ", r"line 1: .*\[0, 9\]"),
    ("tid2013", "mos_with_names.txt", "0.00000 i01_24_5.bmp", "0.00000", "line 2: expected the name of a picture"),
    ("uhd-iqa", "uhd-iqa-metadata.csv", "training,", "train,", "line 2: .*training, validation, test"),
]
