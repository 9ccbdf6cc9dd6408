"""SAM as a baseline: the authors' sizes, every weight trained, published weights at any image size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qmanet_benco.benco.zoo.sam import SAM, dice_loss
from qmanet_benco.errors import RequestError

pytestmark = pytest.mark.compat

pytest.importorskip("transformers")
SIZE = 64


def example() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, SIZE, SIZE, generator=generator)
    return image, (torch.rand(2, 1, SIZE, SIZE, generator=generator) > 0.5).float()


def test_large_model_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = SAM("large")
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions == pytest.approx(309.0, rel=0.015)  # Table 10


def test_every_weight_that_is_trained_gets_a_gradient() -> None:
    image, mask = example()
    model = SAM("miniature", input_size=SIZE).train()
    output = model(image=image, mask=mask, label=torch.ones(2), if_predcit_label=False)
    output["backward_loss"].backward()
    assert output["pred_mask"].shape == mask.shape
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    image, _ = example()
    mask = torch.zeros(2, 1, SIZE, SIZE)
    mask[..., : SIZE // 2] = 1
    model = SAM("miniature", input_size=SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = model(image, mask)["backward_loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_published_weights_load_at_their_own_size_and_at_another(tmp_path: Path) -> None:
    from transformers import SamModel

    from qmanet_benco.benco.zoo.sam import _config

    torch.manual_seed(0)
    published = SamModel(_config("miniature", SIZE))
    torch.nn.init.normal_(published.vision_encoder.pos_embed)
    published.save_pretrained(tmp_path)
    same = SAM("miniature", weights=str(tmp_path), input_size=SIZE)
    state = published.vision_encoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in same.image_encoder.state_dict().items())
    doubled = SAM("miniature", weights=str(tmp_path), input_size=2 * SIZE).eval()
    assert doubled(torch.randn(1, 3, 2 * SIZE, 2 * SIZE))["pred_mask"].shape == (1, 1, 2 * SIZE, 2 * SIZE)
    average = doubled.image_encoder.pos_embed.mean()
    assert float(average) == pytest.approx(float(published.vision_encoder.pos_embed.mean()), abs=0.02)


def test_encoder_sees_the_image_as_transformers_own_model_does() -> None:
    image, _ = example()
    model = SAM("miniature", input_size=SIZE).eval()
    from transformers import SamModel

    from qmanet_benco.benco.zoo.sam import _config

    reference = SamModel(_config("miniature", SIZE)).eval()
    reference.vision_encoder.load_state_dict(model.image_encoder.state_dict())
    reference.mask_decoder.load_state_dict(model.mask_decoder.state_dict())
    with torch.no_grad():
        reference.shared_image_embedding.positional_embedding.fill_(0.5)
        model.positions.copy_(reference.get_image_wide_positional_embeddings())
        # with a prompt of zero tokens: what is left is image, positions and the embedding of "no mask"
        features = reference.get_image_embeddings(image)
        masks, *_ = reference.mask_decoder(
            features,
            model.positions.expand(2, -1, -1, -1),
            model.prompt.expand(2, -1, -1, -1),
            model.no_mask.expand_as(features),
            False,
        )
        expected = torch.nn.functional.interpolate(masks[:, 0], (SIZE, SIZE), mode="bilinear")
        assert torch.allclose(model.logits(image), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(variant="giant"), "giant"),
        (dict(variant="miniature", input_size=100), "multiple of 16"),
        (dict(variant="miniature", weights="absent/folder/of/sam", input_size=SIZE), "absent/folder"),
    ],
)
def test_wrong_flag_is_refused_in_one_line(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says) as error:
        SAM(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_image_of_another_size_is_refused_with_the_flag_that_helps() -> None:
    with pytest.raises(RequestError, match="--input_size 96"):
        SAM("miniature", input_size=SIZE)(torch.zeros(1, 3, 96, 96))


def test_dice_is_zero_for_the_truth_and_nearly_one_for_its_opposite() -> None:
    _, mask = example()
    assert float(dice_loss(mask, mask)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(1 - mask, mask)) > 0.99
