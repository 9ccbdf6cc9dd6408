"""Corrects the stock ``test_complexity.py``: the post function applied, attention counted, both conventions printed."""

from __future__ import annotations

import math
import sys
from typing import Any, NoReturn

from qmanet_benco.benco.corrections.row import Request, Rows, around
from qmanet_benco.benco.seam.flags import model_name
from qmanet_benco.benco.seam.patches import Patches, Stock

_COMPLEXITY = "training_scripts/test_complexity.py"
_SCRIPTS = ("test_complexity",)
ATTENTION = "aten::scaled_dot_product_attention"
ROWS = Rows()


def attention_multiply_adds(inputs: list[Any], outputs: list[Any]) -> int:
    """Multiply-adds of one scaled dot product attention, a rule in fvcore's form.

    ``q k^T`` and ``attention v``: with q of B x H x L x D, k of B x H x S x D and v of B x H x S x E they are
    ``B H L S (D + E)``, which is ``2 B H L S D`` for E = D. Scaling and softmax are not counted, as fvcore does not
    count elementwise operations elsewhere.
    """
    from fvcore.nn.jit_handles import get_shape

    del outputs
    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    assert query is not None
    assert key is not None
    assert value is not None
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


@ROWS.add(
    "complexity-post-function",
    f"{_COMPLEXITY}:113",
    "dataset_test = DummyDataset",
    "a model with a post function is not measured at all",
    _SCRIPTS,
)
def measure_with_post_function(patches: Patches, _: Request) -> None:
    """Send the script into the only branch that measures, and give that branch's data set the post function."""
    from IMDLBenCo.datasets import DummyDataset
    from IMDLBenCo.registry import POSTFUNCS

    stock_look_up = POSTFUNCS.get_lower

    def get_lower(name: str) -> NoReturn:
        raise KeyError(f"looked up later: the dummy image goes through {name} if there is one")

    def init(stock: Stock, self: Any, *args: Any, post_funcs: Any = None, **kwargs: Any) -> None:
        name = f"{model_name(sys.argv[1:])}_post_func".lower()
        if post_funcs is None and name in {known.lower() for known in POSTFUNCS.module_dict}:
            post_funcs = stock_look_up(name)
        stock(self, *args, post_funcs=post_funcs, **kwargs)

    patches.set(POSTFUNCS, "get_lower", get_lower)
    patches.wrap(DummyDataset, "__init__", init)


@ROWS.add(
    "complexity-attention",
    f"{_COMPLEXITY}:158",
    "FlopCountAnalysis",
    "fvcore does not count scaled_dot_product_attention",
    _SCRIPTS,
)
@around("fvcore.nn:FlopCountAnalysis")
def count_attention(stock: Stock, *args: Any, **kwargs: Any) -> Any:
    """Give every analysis of the script the rule for attention."""
    return stock(*args, **kwargs).set_op_handle(ATTENTION, attention_multiply_adds)


@ROWS.add(
    "complexity-conventions",
    f"{_COMPLEXITY}:160",
    "flop_count_table",
    "the table calls multiply-adds FLOPs; both are printed after it",
    _SCRIPTS,
)
@around("fvcore.nn:flop_count_table")
def report_both_conventions(stock: Stock, analysis: Any, *args: Any, **kwargs: Any) -> str:
    """Append the totals in both conventions to the script's table."""
    images = len(analysis._inputs[0])
    total = analysis.total() / images / 1e9
    return (
        f"{stock(analysis, *args, **kwargs)}\n"
        f"per image: {total:.3f} G multiply-adds (multiply-add = 1), {2 * total:.3f} GFLOPs (multiply-add = 2)"
    )
