"""Mixes of two samples, and their loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlworkflow.engine.mixup import Mixed, MixedLoss, Mixing

IMAGES = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 10, 8)
"""Four images, the n-th of which is n all over."""


def test_mixup_weighs_each_sample_and_the_one_before_it():
    mixing = Mixing(mixup=1.0)

    mixed = mixing.mix(IMAGES)

    assert 0 < mixing.share < 1
    assert mixed[2, 0, 0, 0].item() == pytest.approx(2 * mixing.share + 1 * (1 - mixing.share))
    assert mixed[0, 0, 0, 0].item() == pytest.approx(3 * (1 - mixing.share))


def test_cutmix_shows_a_piece_of_the_one_before_and_its_share_is_what_is_left():
    torch.manual_seed(1)
    mixing = Mixing(cutmix=1.0)

    mixed = mixing.mix(IMAGES)

    shown = (mixed[2] == 1).double().mean().item()
    assert 0 < shown < 1
    assert set(mixed[2].unique().tolist()) == {1.0, 2.0}
    assert mixing.share == pytest.approx(1 - shown)


def test_mixup_is_torchvisions_for_the_same_draw():
    from torchvision.transforms import v2

    y = torch.arange(4)
    torch.manual_seed(3)
    mixing = Mixing(mixup=0.7)
    mine = mixing.mix(IMAGES)

    class Same:
        def sample(self, _):
            return torch.tensor(mixing.share)

    theirs = v2.MixUp(alpha=0.7, num_classes=4)
    theirs._dist = Same()
    X, soft = theirs(IMAGES, y)

    logits = torch.randn(4, 4)
    assert torch.allclose(mine, X)
    assert torch.allclose(MixedLoss(F.cross_entropy, mixing)(logits, y), F.cross_entropy(logits, soft))


def test_both_take_turns_by_chance():
    torch.manual_seed(0)
    mixing = Mixing(mixup=1.0, cutmix=1.0)

    cut = [len(mixing.mix(IMAGES)[1].unique()) == 2 for _ in range(40)]

    assert 5 < sum(cut) < 35


def test_a_small_alpha_leaves_most_of_one_sample():
    torch.manual_seed(0)
    mixing = Mixing(mixup=0.05)
    shares = []
    for _ in range(50):
        mixing.mix(IMAGES)
        shares.append(mixing.share)

    assert sum(min(share, 1 - share) < 0.05 for share in shares) > 30


def test_nothing_is_blended_or_drawn_when_a_model_is_scored():
    model = Mixed(nn.Identity(), Mixing(mixup=1.0)).eval()
    before = torch.get_rng_state()

    assert model(IMAGES) is IMAGES
    assert torch.equal(torch.get_rng_state(), before)
