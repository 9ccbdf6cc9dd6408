"""The rows of VARIANTS, the stored form of a configuration, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmanet_benco.errors import RequestError
from qmanet_benco.model.config import (
    DECODERS,
    NOISE_SOURCES,
    STAGES,
    VARIANTS,
    QMANetConfig,
    parse_noise_sources,
    variant_config,
)


def changed_fields(variant: str) -> set[str]:
    """What a row changes against the paper's."""
    paper, row = VARIANTS["paper"], VARIANTS[variant]
    return {f.name for f in fields(row) if getattr(row, f.name) != getattr(paper, f.name)} - {"variant"}


def test_every_agreed_variant_is_there_under_its_own_name() -> None:
    backbones = {f"b{size}" for size in range(6)}
    assert set(VARIANTS) == {"paper", "cp", "sl", "ss", "cd", "mlp", "q4", "q8", "q32", "miniature"} | backbones
    assert all(config.variant == name for name, config in VARIANTS.items())


@pytest.mark.parametrize(
    ("variant", "field", "value"),
    [
        ("cp", "interaction_stages", ()),
        ("sl", "decoder_levels", (4,)),
        ("ss", "interaction_stages", (4,)),
        ("cd", "decoder", "conv"),
        ("mlp", "decoder", "mlp"),
        ("q4", "num_queries", 4),
        ("q8", "num_queries", 8),
        ("q32", "num_queries", 32),
        ("b1", "depths", (2, 2, 2, 2)),
        ("b2", "depths", (3, 4, 6, 3)),
        ("b4", "depths", (3, 8, 27, 3)),
        ("b5", "depths", (3, 6, 40, 3)),
    ],
)
def test_an_ablation_changes_one_field_of_the_paper_s_network(variant: str, field: str, value: object) -> None:
    assert changed_fields(variant) == {field}
    assert getattr(VARIANTS[variant], field) == value


def test_paper_has_section_3_s_sizes() -> None:
    paper = VARIANTS["paper"]
    assert paper.widths == (64, 128, 320, 512)
    assert paper.depths == (3, 4, 18, 3)
    assert paper.reductions == (8, 4, 2, 1)
    assert paper.num_queries == 16
    assert (paper.segmentation_weight, paper.edge_weight, paper.bce_weight) == (0.2, 0.8, 0.0)
    assert paper.noise_sources == NOISE_SOURCES
    assert changed_fields("b3") == set()


def test_b0_has_mit_b0_s_widths() -> None:
    assert VARIANTS["b0"].widths == (32, 64, 160, 256)


levels = st.sets(st.sampled_from(STAGES)).map(lambda stages: tuple(sorted(stages)))
configurations = st.builds(
    QMANetConfig,
    variant=st.sampled_from(sorted(VARIANTS)),
    embed_dim=st.integers(1, 128),
    depths=st.tuples(*[st.integers(1, 50)] * 4),
    drop_path=st.floats(0, 0.9),
    noise_sources=st.sets(st.sampled_from(NOISE_SOURCES)).map(lambda s: tuple(n for n in NOISE_SOURCES if n in s)),
    interaction_stages=levels,
    shared_gcm=st.booleans(),
    decoder=st.sampled_from(DECODERS),
    decoder_levels=levels.filter(bool),
    num_queries=st.integers(1, 512),
    literal_first_block=st.booleans(),
    fusion_ratio=st.floats(0.01, 4),
    dilations=st.lists(st.integers(1, 64), min_size=1, max_size=16).map(tuple),
    keep_alignment=st.booleans(),
    segmentation_weight=st.floats(0, 10),
    bce_weight=st.floats(0, 10),
    edge_width=st.integers(0, 50).map(lambda half: 2 * half + 1),
)


@given(configurations)
def test_a_stored_configuration_is_read_back_unchanged(config: QMANetConfig) -> None:
    text = config.to_json()
    assert "\n" not in text
    assert QMANetConfig.from_json(text) == config


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"heads": 3, "decoder": []}', "\ufffd\ufffd"])
def test_something_else_is_no_configuration(text: str) -> None:
    with pytest.raises(RequestError, match=r"not a QMA-Net configuration|expected one of query"):
        QMANetConfig.from_json(text)


def test_field_of_a_later_release_asks_for_an_update() -> None:
    values = json.loads(QMANetConfig().to_json()) | {"colour": "blue"}
    with pytest.raises(RequestError, match=r"unknown field 'colour' in a stored configuration; update"):
        QMANetConfig.from_json(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(noise_sources=("srm", "fft")), "noise source 'fft'; expected a comma list of srm, bayar, noiseprint"),
        (dict(decoder="unet"), "decoder 'unet'; expected one of query, conv, mlp"),
        (dict(decoder_levels=()), "no decoder level; expected at least one of 1, 2, 3, 4"),
        (dict(decoder_levels=(4, 5)), "decoder_levels 4,5; expected stages out of 1, 2, 3, 4"),
        (dict(interaction_stages=(0,)), "interaction_stages 0; expected stages out of 1, 2, 3, 4"),
        (dict(num_queries=0), "num_queries 0; expected 1 or more"),
        (dict(num_queries=-4), "num_queries -4; expected 1 or more"),
        (dict(edge_width=6), "edge_width 6; expected an odd number"),
        (dict(edge_width=0), "edge_width 0; expected an odd number"),
        (dict(edge_weight=-0.1), "edge_weight -0.1; expected 0 or more"),
        (dict(bce_weight=float("nan")), "bce_weight nan; expected 0 or more"),
    ],
)
def test_wrong_value_is_quoted_with_what_was_expected(change: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        replace(QMANetConfig(), **change)


def test_unknown_variant_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        RequestError, match=r"variant 'b6'; expected one of paper, cp, .*, miniature-statistics, .* b0-cp"
    ):
        variant_config("b6")


def test_variant_config_changes_the_fields_that_it_is_given() -> None:
    assert variant_config("sl", num_queries=3) == replace(VARIANTS["sl"], num_queries=3)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("srm,bayar,noiseprint", NOISE_SOURCES),
        ("noiseprint,srm", ("srm", "noiseprint")),
        (" Bayar , SRM,", ("srm", "bayar")),
        ("srm,srm", ("srm",)),
        ("none", ()),
        ("NONE", ()),
    ],
)
def test_noise_sources_are_a_set_in_one_order(text: str, sources: tuple[str, ...]) -> None:
    assert parse_noise_sources(text) == sources


@pytest.mark.parametrize("text", ["", ",", "fft", "srm;bayar", "none,srm", "noiseprint++"])
def test_unknown_noise_sources_are_refused(text: str) -> None:
    with pytest.raises(
        RequestError, match=r"noise_sources .*; expected a comma list of srm, bayar, noiseprint, or none"
    ):
        parse_noise_sources(text)


@pytest.mark.parametrize("ablation", ["cp", "sl", "ss", "cd", "mlp", "q4", "q8", "q32"])
def test_an_ablation_of_another_backbone_changes_what_it_changes_in_the_paper_s(ablation: str) -> None:
    changed = changed_fields(ablation).pop()
    config = variant_config(f"b0-{ablation}", bce_weight=0.5)
    assert config.variant == f"b0-{ablation}"
    assert getattr(config, changed) == getattr(VARIANTS[ablation], changed)
    assert (config.widths, config.depths, config.bce_weight) == (VARIANTS["b0"].widths, VARIANTS["b0"].depths, 0.5)
    assert QMANetConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("name", ["b0-b1", "cp-b0", "b0-", "paper-cp", "b9-cp"])
def test_other_combinations_are_unknown(name: str) -> None:
    with pytest.raises(RequestError, match="variant"):
        variant_config(name)


def test_light_is_b0_for_cpus_and_no_agreed_variant() -> None:
    light = variant_config("b0-light")
    assert light.widths == VARIANTS["b0"].widths
    assert light.noise_sources == ("srm", "bayar")
    assert "b0-light" not in VARIANTS


@pytest.mark.parametrize(
    "changes",
    [
        {"residual": "other"},
        {"edge_supervision": "none"},
        {"dice": "pixel"},
        {"gcm_groups": 0},
        {"fusion_ratio": 0.0},
        {"fusion_ratio": float("nan")},
        {"residual_gain": 0.0},
        {"dilations": ()},
        {"dilations": (1, 0)},
        {"dilations": (65,)},
    ],
)
def test_a_choice_that_is_none_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        variant_config("b0", **changes)
