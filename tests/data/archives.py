"""Archives in miniature, in the layouts of the ten sets and with their traps."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

LETTERS = ("ani", "arc", "art", "cha", "nat", "pla", "sec", "txt")


def picture(seed: int, size: tuple[int, int] = (24, 16)) -> np.ndarray:
    """A picture of noise, height x width x 3."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def region(seed: int, size: tuple[int, int] = (24, 16)) -> np.ndarray:
    """A mask, height x width, True in a box that the seed moves; never symmetric."""
    rng = np.random.default_rng([seed, 1])
    mask = np.zeros((size[1], size[0]), bool)
    left, top = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
    mask[top : top + 3 + seed % 3, left : left + 5 + seed % 5] = True
    mask[0, 0] = True
    return mask


def save(path: Path, values: np.ndarray) -> Path:
    """Write an image; booleans become 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.dtype == bool:
        values = np.where(values, 255, 0).astype(np.uint8)
    Image.fromarray(values).save(path)
    return path


def casiav1_names() -> list[str]:
    """920 corrected stems, 459 copy-moves and 461 splices; some numbers at the end occur twice."""
    names = []
    for index in range(920):
        kind = "S" if index < 459 else "D"
        one, two = LETTERS[index % 8], LETTERS[(index // 8) % 8]
        number = 1000 + (index if index < 870 else index - 800)
        names.append(f"Sp_{kind}_NNN_A_{one}{index:04d}_{two}{(index * 7) % 1000:04d}_{number:04d}")
    names[600] = "Sp_D_CNN_A_sec0012_ani0007_0275"
    return names


def casiav1(raw: Path, *, folders: str = "Tp/{}", names: list[str] | None = None) -> dict[str, tuple[Path, np.ndarray]]:
    """CASIA v1 as it comes: 921 images, 106 of them with another name than their mask.

    Returns:
        For each corrected stem its image and the mask as it should be.
    """
    names = casiav1_names() if names is None else names
    truth: dict[str, tuple[Path, np.ndarray]] = {}
    for index, name in enumerate(names):
        kind = "CM" if name.startswith("Sp_S") else "Sp"
        mask = region(index)
        wrong = _wrong(name, index) if 100 <= index < 206 else name
        image = save(raw / folders.format(kind) / f"{wrong}.jpg", picture(index))
        stored = np.rot90(mask, -1) if name.endswith("ani0007_0275") else mask
        save(raw / "CASIA 1.0 groundtruth" / kind / f"{name}_gt.png", stored)
        truth[name] = (image, mask)
    save(raw / folders.format("Sp") / "Sp_D_NRN_A_cha0011_sec0011_0542.jpg", picture(5000))
    (raw / "CASIA 1.0 groundtruth" / "Thumbs.db").write_bytes(b"thumbs")
    return truth


def _wrong(name: str, index: int) -> str:
    """As the archive errs: mostly S for D, or a category's letters; sometimes all but the number at the end."""
    parts = name.split("_")
    if index % 3 == 0:
        parts[1] = "D" if parts[1] == "S" else "S"
    elif index % 3 == 1:
        parts[4] = "xxx" + parts[4][3:]
    else:
        parts[4], parts[5] = "nat9999", f"pla{9000 - index}"
    return "_".join(parts)


def casiav2(raw: Path) -> None:
    """Three good pairs (one misnamed), a mask of another size, a turned one, an image without a mask, an authentic."""
    names = ["Tp_D_CND_M_N_ani00018_sec00096_00138", "Tp_S_NRN_S_O_sec00036_sec00036_00764"]
    for index, name in enumerate(names):
        save(raw / "CASIA2" / "Tp" / f"{name}.tif", picture(index))
        save(raw / "CASIA2" / "CASIA 2 Groundtruth" / f"{name}_gt.png", region(index))
    save(raw / "CASIA2" / "Tp" / "Tp_D_NRN_M_N_nat00001_art00002_11001.jpg", picture(2))
    save(raw / "CASIA2" / "CASIA 2 Groundtruth" / "Tp_D_NRN_M_N_nat00009_art00002_11001_gt.png", region(2))
    save(raw / "CASIA2" / "Tp" / "Tp_D_NRN_M_N_nat00001_art00002_11002.jpg", picture(3))
    save(raw / "CASIA2" / "CASIA 2 Groundtruth" / "Tp_D_NRN_M_N_nat00001_art00002_11002_gt.png", region(3, (12, 8)))
    save(raw / "CASIA2" / "Tp" / "Tp_D_NRN_M_N_nat00001_art00002_11003.jpg", picture(4))
    turned = np.rot90(region(4))
    save(raw / "CASIA2" / "CASIA 2 Groundtruth" / "Tp_D_NRN_M_N_nat00001_art00002_11003_gt.png", turned)
    save(raw / "CASIA2" / "Tp" / "Tp_S_NRN_S_N_nat00005_nat00005_11004.jpg", picture(5))
    save(raw / "CASIA2" / "Au" / "Au_ani_00018.jpg", picture(6))


def columbia(raw: Path, count: int = 3) -> None:
    """Edge masks as JPEG: bright and plain green for the spliced side, red for the host."""
    for index in range(count):
        mask = region(index, (64, 48))
        colours = np.where(mask[..., None], (0, 200, 0), (200, 0, 0)).astype(np.uint8)
        colours[:, 30:34] = np.where(mask[:, 30:34, None], (0, 255, 0), (255, 0, 0))
        name = f"canong3_canonxt_sub_{index + 1:02d}"
        save(raw / "4cam_splc" / "4cam_splc" / f"{name}.tif", picture(index, (64, 48)))
        folder = raw / "4cam_splc" / "4cam_splc" / "edgemask"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(folder / f"{name}_edgemask.jpg", quality=95, subsampling=0)
    save(folder / "canong3_canonxt_sub_01_edgemask_3.jpg", picture(9, (64, 48)))
    save(raw / "4cam_auth" / "canong3_02_sub_01.tif", picture(8, (64, 48)))


def coverage(raw: Path, count: int = 3) -> None:
    """Originals, tampered images and three kinds of masks; the last mask is a row short."""
    for index in range(1, count + 1):
        save(raw / "image" / f"{index}.tif", picture(index, (48, 40)))
        save(raw / "image" / f"{index}t.tif", picture(100 + index, (48, 40)))
        size = (48, 39) if index == count else (48, 40)
        for kind, seed in (("forged", index), ("copy", 50 + index), ("paste", 70 + index)):
            save(raw / "mask" / f"{index}{kind}.tif", region(seed, size))


NIST_COLUMNS = (
    "TaskID",
    "ProbeFileID",
    "ProbeFileName",
    "IsTarget",
    "ProbeMaskFileName",
    "BaseFileName",
    "IsManipulationTypeRemoval",
    "IsManipulationTypeSplice",
    "IsManipulationTypeCopyClone",
)


def nist16(raw: Path, extra: tuple[dict[str, str], ...] = ()) -> None:
    """A splice, a copy-move, a removal whose mask lies in another folder than the list says, and an authentic probe."""
    rows = []
    for index, kind in enumerate(("Splice", "CopyClone", "Removal")):
        probe, mask = f"probe/NC2016_{index:04d}.jpg", f"reference/manipulation/mask/NC2016_{index:04d}_gt.png"
        save(raw / "NC2016_Test0613" / probe, picture(index, (96, 64)))
        place = mask.replace("/manipulation/", "/removal/") if kind == "Removal" else mask
        save(raw / "NC2016_Test0613" / place, ~region(index, (96, 64)))
        rows.append({"ProbeFileName": probe, "ProbeMaskFileName": mask, "IsTarget": "Y"})
        rows[-1][f"IsManipulationType{kind}"] = "Y"
    save(raw / "NC2016_Test0613" / "probe" / "NC2016_0900.jpg", picture(900, (96, 64)))
    rows.append({"ProbeFileName": "probe/NC2016_0900.jpg", "ProbeMaskFileName": "", "IsTarget": "N"})
    reference = raw / "NC2016_Test0613" / "reference" / "manipulation" / "NC2016-manipulation-ref.csv"
    reference.parent.mkdir(parents=True, exist_ok=True)
    with reference.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, NIST_COLUMNS, delimiter="|", restval="N")
        writer.writeheader()
        writer.writerows([*rows, *extra])


def imd2020(raw: Path) -> None:
    """Two originals; the second has a jpg and a png forgery, and the same file name as the first."""
    for folder, names in {"1a1ogs": ("0.jpg",), "b2": ("0.jpg", "1.png")}.items():
        for index, name in enumerate(names):
            stem, ending = name.split(".")
            save(raw / folder / f"c8_{stem}.{ending}", picture(index, (32, 24)))
            save(raw / folder / f"c8_{stem}_mask.png", region(index, (32, 24)))
        save(raw / folder / f"{folder}_orig.jpg", picture(77, (32, 24)))


def fantasticreality(raw: Path) -> None:
    """Class ids as a palette PNG, a MATLAB and a NumPy array; one of the ids is as dark as 3."""
    from scipy.io import savemat

    ids = [region(index, (40, 30)).astype(np.uint8) * (3 + index) for index in range(3)]
    for index in range(3):
        save(raw / "FantasticReality_v1" / "ColorFakeImages" / f"{index:05d}.jpg", picture(index, (40, 30)))
    masks = raw / "FantasticReality_v1" / "SegmentationFake"
    masks.mkdir()
    plane = Image.fromarray(ids[0], "P")
    plane.putpalette([0, 0, 0] * 256)
    plane.save(masks / "00000.png")
    savemat(masks / "00001.mat", {"M": ids[1]})
    np.savez(masks / "00002.npz", ids[2][None])
    save(raw / "FantasticReality_v1" / "ColorRealImages" / "r1.jpg", picture(70, (40, 30)))


def cocoglide(raw: Path, *, table: bool = False, count: int = 3) -> None:
    """Masks are named after the real image; sorted by position they would not pair."""
    lines = [("real", "fake", "mask", "prompt")]
    for index in range(count):
        coco = (901, 17, 4500, 33)[index]
        name = ("dining table", "zebra", "apple", "cat")[index]
        fake = f"fake/glide_inpainting_val2017_{coco}_up.png"
        save(raw / "CocoGlide" / fake, picture(index, (32, 32)))
        save(raw / "CocoGlide" / "mask" / f"{name}_{coco}_mask.png", region(index, (32, 32)))
        save(raw / "CocoGlide" / "real" / f"{name}_{coco}.png", picture(40 + index, (32, 32)))
        lines.append((f"real/{name}_{coco}.png", fake, f"mask/{name}_{coco}_mask.png", "a thing"))
    if table:
        with (raw / "CocoGlide" / "table.csv").open("w", newline="", encoding="utf-8-sig") as stream:
            csv.writer(stream).writerows(lines)


def autosplice(raw: Path) -> None:
    """Three levels; two images share the photo's mask, one has its own."""
    for level in (100, 90, 75):
        for index, name in enumerate(("71695_0", "71695_1", "8_0")):
            save(raw / f"Forged_JPEG{level}" / f"{name}.jpg", picture(level * 10 + index, (40, 40)))
    save(raw / "Mask" / "71695_mask.png", region(1, (40, 40)))
    save(raw / "Mask" / "8_0_mask.png", region(2, (40, 40)))
    save(raw / "Authentic" / "71695.jpg", picture(3, (40, 40)))


def tampcoco(raw: Path, parts: tuple[str, ...] = ("sp", "cm", "bcm", "bcmc"), count: int = 4) -> None:
    """Text lists as CAT-Net gives them, with a third column in one; bcmc shares the masks of bcm."""
    for part in parts:
        masks = "bcm" if part == "bcmc" else part
        lines = []
        for index in range(count):
            save(raw / "tampCOCO" / f"{part}_images" / f"{index:012d}.jpg", picture(index))
            save(raw / "tampCOCO" / f"{masks}_masks" / f"{index:012d}.png", region(index))
            more = ",75" if part == "bcmc" else ""
            lines.append(f"{part}_images/{index:012d}.jpg,{masks}_masks/{index:012d}.png{more}\n")
        (raw / "tampCOCO" / f"{part}_COCO_list.txt").write_text("".join(lines))
