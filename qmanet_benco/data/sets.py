"""The ten data sets as rows of data: what the paper counts, and how the archives lie on disk.

Counts, kinds and resolutions are Tables 3 (training) and 4 (tests) of the QMA-Net paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qmanet_benco.errors import RequestError

COPY_MOVE, SPLICE, REMOVAL, GENERATED = "copy-move", "splice", "removal", "ai-generated"
AUTHENTIC = "authentic"


@dataclass(frozen=True)
class DataSet:
    """One published set."""

    name: str
    """The word at the command line."""
    title: str
    """Its name in every list, record and table; other spellings are :attr:`aliases`."""
    role: str
    """``train`` (Table 3) or ``test`` (Table 4)."""
    tampered: int
    """Tampered images: "Number" of Tables 3 and 4."""
    layout: str
    """The archive's folders, as the finder accepts them."""
    mask_rule: str
    """A rule of :mod:`qmanet_benco.data.masks`."""
    source: str
    """Where its authors give it out."""
    kinds: Mapping[str, int] = field(default_factory=dict)
    """Images of each kind of manipulation; empty where the paper says N/K."""
    smallest: tuple[int, int] | None = None
    """Width and height of the smallest image, as the paper prints it."""
    largest: tuple[int, int] | None = None
    scales_masks: bool = False
    """Masks of another size but the same shape as their image are scaled to it; elsewhere they are left out."""
    aliases: tuple[str, ...] = ()
    """Other names that people give it, in letters and digits only; letter case does not matter."""
    as_list: bool = False
    """Too large to copy: the images stay where they are and a JSON list names them."""


_ROWS = (
    DataSet(
        name="casiav1",
        title="CASIAv1",
        aliases=(
            "casia1",
            "casia10",
            "casiav10",
        ),
        role="test",
        tampered=920,
        layout="Tp/{CM,Sp}/*.jpg or Sp/*.jpg; CASIA 1.0 groundtruth/{CM,Sp}/*_gt.png",
        mask_rule="bright",
        source="https://github.com/namtpham/casia1groundtruth",
        kinds={COPY_MOVE: 459, SPLICE: 461},
        smallest=(384, 256),
        largest=(384, 256),
    ),
    DataSet(
        name="casiav2",
        title="CASIAv2",
        aliases=(
            "casia2",
            "casia20",
            "casiav20",
        ),
        role="train",
        tampered=5123,
        layout="Tp/Tp_{D,S}_*.{jpg,tif}, Au/; masks *_gt.png in a folder named ...groundtruth...",
        mask_rule="bright",
        source="https://github.com/namtpham/casia2groundtruth",
        kinds={COPY_MOVE: 3274, SPLICE: 1849},
        smallest=(320, 240),
        largest=(800, 600),
    ),
    DataSet(
        name="columbia",
        title="Columbia",
        aliases=("columbiauncompressed",),
        role="test",
        tampered=180,
        layout="4cam_splc/*.tif, 4cam_splc/edgemask/*_edgemask.jpg, 4cam_auth/*.tif",
        mask_rule="green",
        source="https://www.ee.columbia.edu/ln/dvmm/downloads/authsplcuncmp/",
        kinds={SPLICE: 180},
        smallest=(757, 568),
        largest=(1152, 768),
    ),
    DataSet(
        name="coverage",
        title="Coverage",
        aliases=("cover",),
        role="test",
        tampered=100,
        layout="image/{n}t.tif (tampered), image/{n}.tif (original), mask/{n}forged.tif",
        mask_rule="bright",
        source="https://github.com/wenbihan/coverage",
        kinds={COPY_MOVE: 100},
        smallest=(334, 190),
        largest=(752, 472),
        scales_masks=True,
    ),
    DataSet(
        name="nist16",
        title="NIST16",
        aliases=(
            "nist",
            "nist2016",
            "nc16",
            "nc2016",
        ),
        role="test",
        tampered=564,
        layout="probe/, reference/manipulation/NC2016-manipulation-ref.csv naming probe and mask",
        mask_rule="dark",
        source="https://www.nist.gov/itl/iad/mig/nimble-challenge-2017-evaluation",
        kinds={COPY_MOVE: 236, SPLICE: 225, REMOVAL: 103},
        smallest=(500, 500),
        largest=(5616, 3744),
    ),
    DataSet(
        name="imd2020",
        title="IMD2020",
        aliases=(
            "imd20",
            "imd",
        ),
        role="train",
        tampered=2010,
        layout="one folder per original: *_orig.jpg, tampered *.{jpg,png}, <tampered>_mask.png beside each",
        mask_rule="bright",
        source="https://staff.utia.cas.cz/novozada/db/",
        smallest=(260, 193),
        largest=(2958, 4437),
    ),
    DataSet(
        name="fantasticreality",
        title="Fantastic Reality",
        aliases=("fantasticrealityv1",),
        role="train",
        tampered=19423,
        layout="ColorFakeImages/*.jpg, SegmentationFake/*.{png,mat,npz}, ColorRealImages/*.jpg",
        mask_rule="nonzero",
        source="http://zefirus.org/MAG",
        smallest=(500, 333),
        largest=(6000, 4000),
        as_list=True,
    ),
    DataSet(
        name="tampcoco",
        title="TampCOCO",
        aliases=("tamperedcoco",),
        role="train",
        tampered=800000,
        layout="{sp,cm,bcm,bcmc}_COCO*_list.txt with image,mask,... or {sp,cm,bcm,bcmc}_images and _masks",
        mask_rule="bright",
        source="https://github.com/mjkwon2021/CAT-Net",
        kinds={COPY_MOVE: 600000, SPLICE: 200000},
        smallest=(72, 51),
        largest=(640, 640),
        as_list=True,
    ),
    DataSet(
        name="cocoglide",
        title="CocoGlide",
        aliases=("glide",),
        role="test",
        tampered=512,
        layout="fake/glide_inpainting_val2017_{id}*.png, mask/{class}_{id}_mask.png, real/{class}_{id}.png, table.csv",
        mask_rule="bright",
        source="https://github.com/grip-unina/TruFor#cocoglide-dataset",
        kinds={GENERATED: 512},
        smallest=(256, 256),
        largest=(256, 256),
    ),
    DataSet(
        name="autosplice",
        title="AutoSplice",
        role="test",
        tampered=3621,
        layout="Forged_JPEG{100,90,75}/{id}_{k}.jpg, Mask/{id}_{k}_mask.png or {id}_mask.png, Authentic/*.jpg",
        mask_rule="bright",
        source="https://github.com/shanface33/AutoSplice_Dataset",
        kinds={GENERATED: 3621},
        smallest=(256, 256),
        largest=(4232, 4232),
    ),
)

SETS: Mapping[str, DataSet] = {row.name: row for row in _ROWS}
_NAMES = {word: row for row in _ROWS for word in (row.name, *row.aliases)}


def data_set(name: str) -> DataSet:
    """Find the set of that name; letter case, hyphens, dots and spaces do not matter, and its aliases do as well.

    Raises:
        RequestError: no such set.
    """
    plain = folded(name)
    if plain not in _NAMES:
        raise RequestError(f"no data set named {name!r}", "one of " + ", ".join(SETS))
    return _NAMES[plain]


def set_title(name: str) -> str:
    """Return the one name of a set in all tables, e.g. ``CocoGlide`` for ``COCOGLide``; a name of no known set stays.

    A remark in brackets stays too: ``nist16 (long side 1024)`` is ``NIST16 (long side 1024)``, another version of it.
    """
    plain, bracket, remark = name.partition("(")
    row = _NAMES.get(folded(plain))
    return name if row is None else f"{row.title} {bracket}{remark}".strip()


def folded(name: str) -> str:
    """Return a name's letters and digits in lower case, by which spellings are compared; CASIAv1+ is another set."""
    return "".join(character for character in name.casefold() if character.isalnum() or character == "+")
