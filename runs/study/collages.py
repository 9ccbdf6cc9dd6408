"""A second, independent maker of forgeries, to test on: it shares no code with the one that makes training data.

Something that stands out (spectral residual, Hou and Zhang 2007) is cut along a watershed or with a lasso, laid by
Pillow into another photo at its own resolution or elsewhere into its own; the picture is saved once as JPEG and keeps
its shape. Usage: python runs/study/collages.py PHOTOS OUT [--count 60] [--longest 1024] [--seed 0]
OUT gets Tp, Gt, Au and list.json, the framework's JsonDataset with authentic photos as "Negative".
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from scipy import ndimage
from skimage.segmentation import watershed

ENDINGS = (".jpg", ".jpeg", ".png")


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("photos", type=Path)
    made.add_argument("out", type=Path)
    made.add_argument("--count", type=int, default=60, help="forgeries, and as many authentic pictures")
    made.add_argument("--longest", type=int, default=1024, help="longer side in pixels")
    made.add_argument("--seed", type=int, default=0)
    return made


def main() -> None:
    """Makes as many forgeries as authentic pictures."""
    options = parser().parse_args()
    photos = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in ENDINGS)
    for folder in ("Tp", "Gt", "Au"):
        (options.out / folder).mkdir(parents=True)
    listed = []
    for index in range(options.count):
        draw = random.Random(f"{options.seed}:{index}")
        host, donor = (opened(path, options.longest, draw) for path in draw.sample(photos, 2))
        quality = draw.randint(70, 95)
        authentic = options.out / "Au" / f"{index:04d}.jpg"
        opened(draw.choice(photos), options.longest, draw).save(authentic, quality=quality)
        listed.append([str(authentic.resolve()), "Negative"])
        forged, mask = collage(host, host if draw.random() < 0.35 else donor, draw)
        paths = [options.out / "Tp" / f"{index:04d}.jpg", options.out / "Gt" / f"{index:04d}.png"]
        forged.save(paths[0], quality=quality)
        mask.save(paths[1])
        listed.append([str(path.resolve()) for path in paths])
    (options.out / "list.json").write_text(json.dumps(listed), encoding="utf-8")


def opened(path: Path, longest: int, draw: random.Random) -> Image.Image:
    """The photo at its own resolution, cropped to ``longest`` pixels or, every second time, scaled down to it."""
    with Image.open(path) as image:
        photo = ImageOps.exif_transpose(image).convert("RGB")
    if draw.random() < 0.5:
        photo.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return photo
    width, height = (min(side, longest) for side in photo.size)
    left, top = draw.randint(0, photo.width - width), draw.randint(0, photo.height - height)
    return photo.crop((left, top, left + width, top + height))


def collage(host: Image.Image, donor: Image.Image, draw: random.Random) -> tuple[Image.Image, Image.Image]:
    """One cut-out of the donor laid somewhere into the host; picture and mask."""
    area = draw.uniform(0.01, 0.15) * host.width * host.height
    stencil = (watershed_stencil if draw.random() < 0.6 else lasso_stencil)(donor, area, draw)
    box = stencil.getbbox()
    if box is None:
        return collage(host, donor, draw)
    piece, cut = donor.crop(box), stencil.crop(box)
    if draw.random() < 0.4:
        factor = draw.uniform(0.6, 1.4)
        size = (max(8, round(piece.width * factor)), max(8, round(piece.height * factor)))
        piece, cut = piece.resize(size, Image.Resampling.BICUBIC), cut.resize(size, Image.Resampling.BILINEAR)
    if draw.random() < 0.3:
        piece, cut = ImageOps.mirror(piece), ImageOps.mirror(cut)
    piece, cut = (
        image.crop((0, 0, min(image.width, host.width), min(image.height, host.height))) for image in (piece, cut)
    )
    place = (draw.randint(0, host.width - piece.width), draw.randint(0, host.height - piece.height))
    mask = Image.new("L", host.size)
    mask.paste(cut.point(lambda value: 255 * (value > 127)), place)
    share = np.asarray(mask).mean() / 255
    if not 0.004 < share < 0.4 or (donor is host and place == box[:2]):
        return collage(host, donor, draw)
    soft = Image.new("L", host.size)
    soft.paste(cut, place)
    if draw.random() < 0.6:
        soft = soft.filter(ImageFilter.GaussianBlur(draw.uniform(0.5, 1.5)))
    layer = host.copy()
    layer.paste(piece, place)
    return Image.composite(layer, host, soft), mask


def watershed_stencil(photo: Image.Image, area: float, draw: random.Random) -> Image.Image:
    """The basins around the most striking places, until they have the area."""
    small = photo.copy()
    small.thumbnail((192, 192))
    grey = np.asarray(small.convert("L"), np.float64)
    slope = ndimage.gaussian_gradient_magnitude(grey, 1.5)
    wanted = area * grey.size / (photo.width * photo.height)
    markers = max(6, int(grey.size / wanted * 3))
    seeds = np.zeros(grey.shape, np.int32)
    for label in range(1, markers + 1):
        seeds[draw.randrange(grey.shape[0]), draw.randrange(grey.shape[1])] = label
    basins = watershed(slope, seeds)
    striking = ndimage.mean(saliency(grey), basins, np.arange(1, markers + 1)) * [
        draw.uniform(0.3, 1) for _ in range(markers)
    ]
    first = int(np.nanargmax(striking)) + 1
    chosen = basins == first
    while chosen.sum() < 0.7 * wanted:
        beside = np.unique(basins[ndimage.binary_dilation(chosen) & ~chosen])
        if not len(beside):
            break
        chosen |= basins == draw.choice(list(beside))
    chosen = ndimage.binary_fill_holes(ndimage.binary_opening(chosen, iterations=1))
    return Image.fromarray(np.where(chosen, 255, 0).astype(np.uint8)).resize(photo.size, Image.Resampling.BICUBIC)


def lasso_stencil(photo: Image.Image, area: float, draw: random.Random) -> Image.Image:
    """A hand-drawn loop: a circle whose radius wanders."""
    radius, corners = (area / np.pi) ** 0.5, 40
    radius = min(radius, 0.45 * min(photo.size))
    centre = [draw.uniform(radius, side - radius) for side in photo.size]
    wander = ndimage.gaussian_filter1d([draw.gauss(0, 1) for _ in range(corners)], 2.5, mode="wrap")
    reach = radius * np.clip(1 + 0.6 * wander, 0.3, 1.6)
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    loop = [(centre[0] + r * np.cos(a), centre[1] + r * np.sin(a)) for r, a in zip(reach, angles, strict=True)]
    stencil = Image.new("L", photo.size)
    ImageDraw.Draw(stencil).polygon(loop, fill=255)
    return stencil


def saliency(grey: np.ndarray) -> np.ndarray:
    """Spectral residual: what the smoothed log spectrum does not predict."""
    spectrum = np.fft.fft2(grey)
    magnitude = np.log(np.abs(spectrum) + 1e-6)
    residual = magnitude - ndimage.uniform_filter(magnitude, 3)
    return ndimage.gaussian_filter(np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2, 4)


if __name__ == "__main__":
    main()
