"""Puts one pair of an archive into its place: reads, checks, corrects and writes it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from qmanet_benco.data.masks import (
    encode_mask,
    read_mask,
    resize_mask,
    stored_from_shown,
    turn_clockwise,
)
from qmanet_benco.data.prepare import manifest
from qmanet_benco.data.prepare.archive import Archive, ArchivePair
from qmanet_benco.data.prepare.digest import pair_digest
from qmanet_benco.data.prepare.manifest import NEGATIVE, PreparedImage
from qmanet_benco.data.prepare.mask_placement import mask_of_equal_size, proven_fit, same_shape, side_of_host
from qmanet_benco.data.prepare.ownership import Written, is_to_write
from qmanet_benco.data.sets import DataSet
from qmanet_benco.errors import RequestError
from qmanet_benco.images import UnusableFileError, encoded, fitting, load_whole, open_image, orientation_of, read_file
from qmanet_benco.pixels import as_rgb

RESAMPLERS = ("lanczos", "bicubic", "hamming", "bilinear", "box", "nearest")


@dataclass(frozen=True)
class PrepareOptions:
    """What the user may choose; a folder is continued only under the same choices."""

    authentic: bool = False
    """Also the authentic images, in ``Au`` and as ``Negative`` in ``list.json``."""
    long_side: int | None = None
    """Images with a longer side are scaled down to it and saved as PNG; None: every image byte for byte."""
    resampler: str = "lanczos"
    jpeg_level: int = 100
    """AutoSplice's folder."""

    def checked(self) -> PrepareOptions:
        """Return the options themselves.

        Raises:
            RequestError: a value is out of range.
        """
        if self.long_side is not None and self.long_side < 64:
            raise RequestError(f"long side {self.long_side}", "64 pixels or more")
        if self.resampler not in RESAMPLERS:
            raise RequestError(f"resampler {self.resampler!r}", "one of " + ", ".join(RESAMPLERS))
        if self.jpeg_level not in (100, 90, 75):
            raise RequestError(f"JPEG level {self.jpeg_level}", "100, 90 or 75")
        return self


class Writer:
    """Puts one pair into place; picklable, so that several processes can."""

    def __init__(
        self, row: DataSet, archive: Archive, out: Path, options: PrepareOptions, written: Written | None = None
    ) -> None:
        """Make the folders.

        Args:
            row: the set.
            archive: where the pairs come from.
            out: the prepared folder.
            options: choices.
            written: what earlier runs put there; nothing else that differs is replaced.
        """
        self.row, self.archive, self.out, self.options = row, archive, out, options
        self.written: Written = written or {}
        for folder in ("Gt",) if row.as_list else ("Tp", "Gt"):
            manifest.make_folder(out, folder)
        if options.authentic and not row.as_list:
            manifest.make_folder(out, "Au")

    def __call__(self, pair: ArchivePair) -> PreparedImage:
        """Write image and mask, the mask first.

        Raises:
            UnusableFileError: the pair cannot be used; nothing of it was written.
            RequestError: a file of the user's has the name of the image or the mask.
        """
        content = read_file(pair.image)
        image = open_image(pair.image, content)
        size, hashed = image.size, content
        scaled = _scaled(size, self.options.long_side)
        load_whole(image, coarse=scaled == size)
        mask, note = None, pair.note
        if pair.mask is not None:
            mask, turned = _fitted(read_mask(pair.mask, self.row.mask_rule, strict=True), size, image, pair, self.row)
            if self.row.mask_rule == "green":
                _refuse_the_hosts_side(mask, pair)
            note = "; ".join(part for part in (note, turned) if part)
        suffix = pair.image.suffix.lower()
        if scaled != size:
            resampler = PillowImage.Resampling[self.options.resampler.upper()]
            small = as_rgb(image).resize(scaled, resampler)
            content, suffix, hashed = encoded(small, "PNG", compress_level=3), ".png", small.tobytes()
            mask = None if mask is None else resize_mask(mask, scaled)
            note = "; ".join([*filter(None, [note]), f"scaled from {_text(size)} by {self.options.resampler}"])
        if mask is not None and not mask.any():
            raise UnusableFileError("the mask is empty: nothing in it is tampered")
        row = self._written(pair, content, suffix, mask, scaled, note, is_original=scaled == size)
        return replace(row, content_sha256=pair_digest(hashed, mask))

    def _written(
        self,
        pair: ArchivePair,
        content: bytes,
        suffix: str,
        mask: NDArray[np.bool_] | None,
        size: tuple[int, int],
        note: str,
        *,
        is_original: bool,
    ) -> PreparedImage:
        file = str(pair.image) if self.row.as_list and is_original else f"{folder_of(pair)}/{pair.stem}{suffix}"
        mask_name, mask_bytes = NEGATIVE, b""
        contents = {} if self.row.as_list and is_original else {file: content}
        if mask is not None:
            mask_name, mask_bytes = f"Gt/{pair.stem}.png", encode_mask(mask)
            contents = {mask_name: mask_bytes, **contents}
        waiting = [name for name in contents if is_to_write(self.out, name, contents[name], self.written)]
        for name in waiting:
            manifest.make_folder(self.out, name.partition("/")[0])
            if name == file and is_original:
                manifest.link_whole(self.out, file, pair.image, content)
            else:
                manifest.write_whole(self.out, name, contents[name])
        return PreparedImage(
            file=file,
            mask=mask_name,
            width=size[0],
            height=size[1],
            image_sha256=hashlib.sha256(content).hexdigest(),
            mask_sha256=hashlib.sha256(mask_bytes).hexdigest() if mask is not None else "",
            tampered_fraction=f"{0.0 if mask is None else float(mask.mean()):.6f}",
            kind=pair.kind,
            source=self.archive.relative(pair.image),
            source_mask=self.archive.relative(pair.mask) if pair.mask else "",
            note=note,
        )


def folder_of(pair: ArchivePair) -> str:
    """Return ``Tp`` for a tampered image, ``Au`` for an authentic one: ``Tp`` and ``Gt`` must sort alike."""
    return "Au" if pair.mask is None else "Tp"


def _fitted(
    mask: NDArray[np.bool_], size: tuple[int, int], image: PillowImage.Image, pair: ArchivePair, row: DataSet
) -> tuple[NDArray[np.bool_], str]:
    """Bring the mask to the image's size, and say what was done to it.

    Raises:
        UnusableFileError: the sizes differ and nothing documented or provable explains it.
    """
    width, height = mask.shape[1], mask.shape[0]
    orientation = orientation_of(image)
    if (width, height) == size:
        return mask_of_equal_size(mask, pair, orientation)
    proven = proven_fit(pair.image, mask, pair.hosts)
    if proven is not None:
        return proven
    if (height, width) == size:
        if pair.clockwise:
            side = "clockwise" if pair.clockwise == 1 else "counter-clockwise"
            return turn_clockwise(mask, pair.clockwise), f"mask turned 90 degrees {side}"
        if orientation >= 5:
            return stored_from_shown(mask, orientation), f"mask turned back from EXIF orientation {orientation}"
    if row.scales_masks and same_shape((height, width), (size[1], size[0])):
        return resize_mask(mask, size), f"mask scaled from {_text((width, height))}"
    turned = ", the same turned by 90 degrees: which way is not known" if (height, width) == size else ""
    proof = ", and no authentic photo proves how it lies on it"
    raise UnusableFileError(f"the mask has {_text((width, height))}, the image {_text(size)}{turned}{proof}")


def _refuse_the_hosts_side(mask: NDArray[np.bool_], pair: ArchivePair) -> None:
    """Refuse a splice whose white side is what an authentic photo shows, or whose side cannot be told.

    Raises:
        UnusableFileError: so it is.
    """
    proof = side_of_host(pair.image, mask, pair.hosts)
    if proof is not None and proof[0]:
        raise UnusableFileError(f"its green side is unchanged in the authentic photo {proof[1]}, its red side is not")


def names_of(pair: ArchivePair) -> tuple[str, ...]:
    """List all names that a pair's files may have, relative to the prepared folder."""
    image = f"{folder_of(pair)}/{pair.stem}"
    masks = () if pair.mask is None else (f"Gt/{pair.stem}.png",)
    return (f"{image}{pair.image.suffix.lower()}", f"{image}.png", *masks)


def _scaled(size: tuple[int, int], long_side: int | None) -> tuple[int, int]:
    return size if long_side is None else fitting(size, long_side)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
