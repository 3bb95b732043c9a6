"""The names of what can be wrong with a picture, as far as a network is taught to tell, and what people see of each."""

DEFECTS = {
    "blur": "Edges and fine detail are soft all over, as out of focus.",
    "motion_blur": "Everything is drawn out along one direction, as when the camera or the scene moved.",
    "smeared": "Fine texture is wiped away while strong edges stay, as by too much denoising or a beauty filter.",
    "noise": "Grain or static lies over the picture, grey or coloured.",
    "specks": "Single pixels are far too bright, too dark or of another colour.",
    "compression": "Blocks, ringing at edges and lost detail, as JPEG and its kin leave them at small file sizes.",
    "blocks": "Squares are coarse, misplaced or of one colour: big pixels, wrong patches, lost pieces.",
    "dark": "The picture is too dark, and detail in its shadows is lost.",
    "bright": "The picture is too bright, and detail in its lights is lost.",
    "contrast": "Light and dark are too near to each other, or too far apart.",
    "colour": "Colours are wrong: a cast, too pale, too strong, bleeding or inverted.",
    "fringes": "Coloured seams lie along edges, because the colour planes do not fit together.",
    "oversharpened": "Edges have halos and texture is harsh, as after too much sharpening.",
    "upscaled": "The picture was enlarged from fewer pixels: larger than its detail.",
    "banding": "Smooth shades break into steps, because there are too few tones or colours.",
    "warped": "Shapes are bent, wavy or jittered.",
}
NAMES = tuple(DEFECTS)
