"""Defects of the stock scripts, corrected while one runs: one small patch each, listed in :data:`ROWS`.

None changes a number that published work reports: metrics, augmentations and attacks stay as they are. ``--stock``
leaves all of them out, ``--without NAME`` leaves one out, and `qmanet doctor` shows which apply here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from qmanet_benco.benco.corrections import defects, zoo_seams
from qmanet_benco.benco.corrections.defects import Request
from qmanet_benco.benco.seam import flags
from qmanet_benco.benco.seam.patches import Patches
from qmanet_benco.errors import RequestError


@dataclass(frozen=True)
class Correction:
    """One defect and its patch."""

    name: str
    stock: str
    """``file:line`` inside IMDLBenCo."""
    pattern: str
    """Regular expression that the stock line matches as long as the defect is there."""
    why: str
    apply: Callable[[Patches, Request], None]
    scripts: tuple[str, ...] = flags.SCRIPTS


_MISC = "training_scripts/utils/misc.py"
_TESTER = "training_scripts/tester/tester.py"
_COMPLEXITY = "training_scripts/test_complexity.py"
_TESTS = ("test", "test_robust", "test_save_images")
INPUT_CHECKS = "input-checks"
RELATIVE_CHECKPOINT = "relative-checkpoint"
EXACT_RESUME, SEEDED_SAMPLES, FINITE_STEPS = "exact-resume", "seeded-samples", "finite-steps"
ROWS = (
    Correction(
        INPUT_CHECKS,
        "datasets/abstract_dataset.py:45",
        "assert tp_shape == gt_shape",
        "wrong paths, stray files, shifted pairs, grey masks and damaged checkpoints are refused before the run",
        defects.nothing,
    ),
    Correction(
        "paired-names",
        "datasets/iml_datasets.py:23",
        r"gt_list\.sort\(\)",
        "images and masks are paired by sorted position, whatever their names say: 10.jpg with the mask of 1.jpg",
        defects.pair_by_name,
        ("train", *_TESTS),
    ),
    Correction(
        "every-mode",
        "datasets/utils.py:29",
        r"img\.convert\('RGB'\)",
        "16-bit grey becomes white, transparency uncovers what is hidden, a mask in the alpha channel is all white",
        defects.read_every_mode,
        ("train", *_TESTS),
    ),
    Correction(
        "named-files",
        "datasets/utils.py:28",
        r"Image\.open",
        "an unreadable image, unequal sizes or a grey mask are reported with their file names while loading",
        defects.name_bad_files,
        ("train", *_TESTS),
    ),
    Correction(
        "list-errors",
        "training_scripts/train.py:238",
        "except:",
        'a bare except hides what is wrong with a JSON list ("is not registered in DATASETS")',
        defects.explain_lists,
        ("train", *_TESTS),
    ),
    Correction(
        "jpegio",
        "datasets/utils.py:11",
        "import jpegio as jio",
        "CAT-Net needs jpegio, which nothing declares and which has no wheel; jpeglib reads the same coefficients",
        defects.read_coefficients,
        ("train", *_TESTS),
    ),
    Correction(
        "cudnn-enabled",
        f"{_MISC}:380",
        r"cudnn\.enabled = False",
        "seeding switches cuDNN off: slow convolutions; deterministic stays on",
        defects.keep_cudnn,
        ("train", "test_robust", "test_complexity"),
    ),
    Correction(
        "seeded-random",
        f"{_MISC}:372",
        r"# random\.seed",
        "albumentations draws from Python's random, which is not seeded: equal seeds differ with --num_workers 0",
        defects.seed_random,
        ("train", "test_robust"),
    ),
    Correction(
        "resume",
        f"{_MISC}:339",
        r"torch\.load\(args\.resume",
        "a checkpoint holds an argparse.Namespace, which torch 2.6 and later refuse to load",
        defects.allow_own_flags,
    ),
    Correction(
        "safe-checkpoints",
        "training_scripts/test.py:261",
        "weights_only=False",
        "a checkpoint could run code; --allow-pickle lets it",
        defects.load_safely,
    ),
    Correction(
        "atomic-checkpoints",
        f"{_MISC}:231",
        r"torch\.save",
        "a kill or a full disk during a write leaves a truncated checkpoint",
        defects.save_whole,
        ("train",),
    ),
    Correction(
        EXACT_RESUME,
        f"{_MISC}:322",
        "'epoch': epoch",
        "checkpoints have no random states, so that a resumed training differs; an epoch that was saved but not tested "
        "is not tested after a restart",
        defects.resume_exactly,
        ("train",),
    ),
    Correction(
        SEEDED_SAMPLES,
        "datasets/abstract_dataset.py:97",
        r"self\.common_transforms\(image",
        "augmentations depend on the number of loader workers",
        defects.seed_each_sample,
        ("train",),
    ),
    Correction(
        FINITE_STEPS,
        f"{_MISC}:276",
        r"self\._scaler\.scale\(loss\)\.backward",
        "one image with a loss that is not finite makes every weight NaN",
        defects.skip_bad_steps,
        ("train",),
    ),
    Correction(
        "fused-adamw",
        "training_scripts/train.py:397",
        r"optim_factory\.create_optimizer",
        "AdamW goes through the parameters several times; torch's fused AdamW does it once (equal but for rounding)",
        defects.fuse_adamw,
        ("train",),
    ),
    Correction(
        "log-per-set",
        "training_scripts/test.py:283",
        "full_log_dir",
        "the results of all sets go into the last set's log.txt",
        defects.log_each_set,
        ("test",),
    ),
    Correction(
        RELATIVE_CHECKPOINT,
        "training_scripts/test_save_images.py:217",
        r"os\.path\.join\(args\.checkpoint_path, chkpt_dir\)",
        "a relative --checkpoint_path is joined to itself",
        defects.nothing,
        ("test_save_images",),
    ),
    Correction(
        "every-mask",
        "training_scripts/test_save_images.py:210",
        "drop_last=True",
        "images of an incomplete last batch get no mask",
        defects.save_every_image,
        ("test_save_images",),
    ),
    Correction(
        "no-pixel-prints",
        f"{_TESTER}:273",
        r"print\(mask_pred_i\)",
        "every mask's pixels are printed",
        defects.print_no_arrays,
        ("test_save_images",),
    ),
    Correction(
        "complexity-post-function",
        f"{_COMPLEXITY}:113",
        "dataset_test = DummyDataset",
        "a model with a post function is not measured at all",
        defects.measure_with_post_function,
        ("test_complexity",),
    ),
    Correction(
        "complexity-attention",
        f"{_COMPLEXITY}:158",
        "FlopCountAnalysis",
        "fvcore does not count scaled_dot_product_attention",
        defects.count_attention,
        ("test_complexity",),
    ),
    Correction(
        "complexity-conventions",
        f"{_COMPLEXITY}:160",
        "flop_count_table",
        "the table calls multiply-adds FLOPs; both are printed after it",
        defects.report_both_conventions,
        ("test_complexity",),
    ),
    Correction(
        "bool-flags", f"{_MISC}:398", "arg_type = param.annotation", "bool flags read False as true", defects.read_bools
    ),
    Correction(
        "flag-help", f"{_MISC}:401", "help=", "--help shows a model's flags without a word", defects.explain_flags
    ),
    Correction(
        "flag-errors",
        f"{_MISC}:385",
        "ArgumentParser",
        "a wrong flag prints a page of usage",
        defects.refuse_in_one_line,
    ),
    Correction(
        "mvss-download",
        "model_zoo/mvss_net/mvssnet.py:223",
        r"model_zoo\.load_url",
        "MVSS-Net fetches ImageNet weights at every construction; only training needs them",
        zoo_seams.fetch_resnet_for_training,
    ),
    Correction(
        "mesorch-download",
        "model_zoo/mesorch/mesorch.py:23",
        r"timm\.create_model",
        "Mesorch fetches ImageNet weights at every construction with --conv_pretrain; only training needs them",
        zoo_seams.fetch_convnext_for_training,
    ),
    Correction(
        "mesorch-size",
        "model_zoo/mesorch/mesorch.py:506",
        r"nn\.Upsample\(size=\(512, 512\)",
        "Mesorch's output is 512 x 512 whatever its input; it gets the input's size, at 512 nothing changes",
        zoo_seams.size_of_mesorch,
    ),
    Correction(
        "trufor-weights",
        "model_zoo/trufor/trufor.py:28",
        r"torch\.load\(np_pretrain_weights\)",
        "TruFor's constructor refuses the published NoisePrint++ file, and wants files also where a checkpoint follows",
        zoo_seams.weights_of_trufor,
    ),
)
NAMES = tuple(row.name for row in ROWS)


def selected(script: str, stock: bool = False, without: Sequence[str] = ()) -> tuple[Correction, ...]:
    """The corrections of a run.

    Args:
        script: the stock script.
        stock: none at all.
        without: names to leave out.

    Raises:
        RequestError: a name is unknown.
    """
    for name in without:
        if name not in NAMES:
            raise RequestError(f"--without {name}", f"one of {', '.join(NAMES)}")
    return () if stock else tuple(row for row in ROWS if script in row.scripts and row.name not in without)


@contextmanager
def corrected(request: Request, rows: Sequence[Correction]) -> Iterator[None]:
    """Apply corrections within the block."""
    with Patches() as patches:
        for row in rows:
            row.apply(patches, request)
        yield
