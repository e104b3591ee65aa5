"""Transfer learning: pretrained weights, a frozen backbone, unfreezing in stages, the preprocessing of the weights."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import nn

from dlworkflow import models
from dlworkflow.config import Layer, build_config, from_overrides
from dlworkflow.errors import ConfigError, ModelError
from dlworkflow.inference.predictor import Predictor
from dlworkflow.models import torchvision_models
from dlworkflow.models.backbone import Staged
from dlworkflow.models.libraries import published
from dlworkflow.runs import Run
from dlworkflow.training.job import prepare
from dlworkflow.training.resume import resume_training
from dlworkflow.training.run import run_training
from dlworkflow.training.settings import resolve_config

SMALL = "shufflenet_v2_x0_5"  # batch norms, and small


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file as torchvision publishes them: 1,000 classes."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "shufflenet.pth"
    torch.save(torchvision.models.get_model(SMALL, weights=None).state_dict(), path)
    return path


@pytest.fixture
def settings(pets, weights):
    """Settings of the small backbone on the pets, at a size that is quickly trained."""

    def resolve(*pairs, model=SMALL):
        usual = (f"model={model}", f"data={{name: image_folder, path: {pets}, image_size: 32}}", "data.batch_size=5")
        start = () if any(pair.startswith(("weights", "init_from")) for pair in pairs) else (f"weights={weights}",)
        return resolve_config([from_overrides([*usual, "epochs=2", *start, *pairs])])

    return resolve


class Net(nn.Module):
    """A user's own backbone: a convolution, a batch norm and dropout before the classifier `out`."""

    classifier_layer = "out"

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.seen = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(4, n_outputs)

    def forward(self, x):
        return self.out(self.drop(self.seen(x)))


@pytest.fixture
def own_net(monkeypatch):
    monkeypatch.setitem(models.REGISTRY.registered, "own_net", Net)
    return "own_net"


def weights_of(run, which="last"):
    return torch.load(run.weights_path(which), weights_only=True)


def backbone_of(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_frozen_backbone_leaves_training_as_it_came_batch_norms_too(tmp_path, settings, weights):
    run = run_training(settings("freeze=backbone", "cache_features=false"), runs_dir=tmp_path)

    assert equal(backbone_of(weights_of(run)), backbone_of(torch.load(weights, weights_only=True)))
    assert weights_of(run)["fc.weight"].shape == (2, 1024)


def test_the_classifier_of_a_frozen_backbone_learns(tmp_path, settings):
    config = settings("freeze=backbone", "cache_features=false")
    before = prepare(config).model.state_dict()

    after = weights_of(run_training(config, runs_dir=tmp_path))

    assert not torch.equal(before["fc.weight"], after["fc.weight"])


@pytest.mark.parametrize("pairs", [(), ("data.batch_size=full", "data.shuffle=false"), ("optimizer=sgd",)], ids=str)
def test_remembered_features_train_to_the_numbers_of_the_pictures(tmp_path, settings, pairs):
    histories = []
    for cached in ("true", "false"):
        run = run_training(settings("freeze=backbone", f"cache_features={cached}", *pairs), runs_dir=tmp_path)
        histories.append([[row[key] for key in ("train_loss", "train_acc", "test_loss")] for row in run.history()])

    assert histories[0] == [pytest.approx(row, rel=1e-5) for row in histories[1]]


def passes_of_training(monkeypatch, config, tmp_path):
    """Return how many batches go through the backbone in a run."""
    passes = []
    seen = torchvision.models.ShuffleNetV2.forward
    monkeypatch.setattr(torchvision.models.ShuffleNetV2, "forward", lambda self, x: passes.append(x) or seen(self, x))
    run_training(config, runs_dir=tmp_path)
    return len(passes)


@pytest.mark.parametrize("pairs", [("data.transform=flip",), ("freeze_epochs=1",), ("cache_features=false",)], ids=str)
def test_features_are_computed_in_every_epoch_where_they_may_change(tmp_path, settings, monkeypatch, pairs):
    once = passes_of_training(monkeypatch, settings("freeze=backbone", "epochs=3"), tmp_path)

    assert passes_of_training(monkeypatch, settings("freeze=backbone", "epochs=3", *pairs), tmp_path) > 2 * once


@pytest.mark.usefixtures("on_cpu")
def test_after_its_epochs_the_backbone_is_trained_too(tmp_path, settings, weights):
    seen = []

    def look(epoch):
        seen.append(weights_of_model["model"].conv1[0].weight.detach().clone())

    weights_of_model = {}
    run_training(
        settings("freeze=backbone", "freeze_epochs=2", "epochs=3"),
        runs_dir=tmp_path,
        on_start=lambda job, _: weights_of_model.update(model=job.model),
        on_epoch=look,
    )

    given = torch.load(weights, weights_only=True)["conv1.0.weight"]
    assert [torch.equal(weight, given) for weight in seen] == [True, True, False]


def stopped(config, tmp_path, after):
    def stop(epoch):
        if epoch.number == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(config, runs_dir=tmp_path, name="stopped", on_epoch=stop)
    return Run(tmp_path / "stopped-001")


STAGES = ("freeze=backbone", "freeze_epochs=2", "backbone_lr_scale=0.1")


@pytest.mark.parametrize(
    ("after", "pairs"),
    [
        (1, STAGES),
        (2, STAGES),
        (3, STAGES),
        (2, (*STAGES, "optimizer={name: sgd, momentum: 0.9}", "data.transform=flip")),
        (2, ("freeze=backbone",)),
    ],
    ids=["frozen", "about to thaw", "thawed", "momentum and flips", "features"],
)
def test_four_epochs_are_the_same_to_the_bit_stopped_in_between(tmp_path, settings, after, pairs):
    config = settings(*pairs, "epochs=4")
    whole = run_training(config, runs_dir=tmp_path)
    run = stopped(config, tmp_path, after)

    resume_training(run)

    assert equal(weights_of(run), weights_of(whole))
    assert equal(weights_of(run, "best"), weights_of(whole, "best"))
    assert [row["test_loss"] for row in run.history()] == [row["test_loss"] for row in whole.history()]


def test_the_backbone_moves_by_its_own_rate(tmp_path, settings, weights):
    given = torch.load(weights, weights_only=True)["conv1.0.weight"]
    moved = []
    for scale in ("1.0", "1e-3"):
        pairs = (f"backbone_lr_scale={scale}", "optimizer=adam", "epochs=1")
        run = run_training(settings(*pairs), runs_dir=tmp_path)
        moved.append(float((weights_of(run)["conv1.0.weight"] - given).abs().mean()))

    assert moved[1] == pytest.approx(moved[0] / 1000, rel=0.5)


def test_a_frozen_backbone_draws_no_dropout_and_counts_no_batch(own_net):
    model = models.build(own_net, (3, 8, 8), 2)
    staged = Staged(model)
    staged.freeze()
    X = torch.randn(6, 3, 8, 8)

    staged.train()

    assert torch.equal(staged(X), staged(X))
    assert model.seen[1].num_batches_tracked == 0
    assert model.out.training


def test_a_thawed_backbone_trains_again(own_net):
    model = models.build(own_net, (3, 8, 8), 2)
    staged = Staged(model)
    staged.freeze()

    staged.freeze(False)
    staged.train()(torch.randn(6, 3, 8, 8))

    assert model.seen[1].num_batches_tracked == 1
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_model_of_ones_own_says_what_its_classifier_is_and_can_be_frozen(tmp_path, settings, own_net):
    torch.manual_seed(3)
    torch.save(Net(7).state_dict(), tmp_path / "net.pth")

    run = run_training(
        settings("freeze=backbone", f"weights={tmp_path / 'net.pth'}", model=own_net), runs_dir=tmp_path / "runs"
    )

    assert torch.equal(weights_of(run)["seen.0.weight"], torch.load(tmp_path / "net.pth")["seen.0.weight"])


def test_a_classifier_that_is_no_layer_is_told_with_the_nearest(settings, own_net, monkeypatch):
    monkeypatch.setattr(Net, "classifier_layer", "ouut")

    with pytest.raises(ModelError, match=r"Net.classifier_layer: unknown layer 'ouut'; did you mean 'out'\?"):
        prepare(settings("freeze=backbone", "init_from=null", model=own_net))


def test_a_model_that_does_more_after_its_classifier_gets_no_remembered_features(tmp_path, settings, monkeypatch):
    class Scaled(Net):
        def forward(self, x):
            return super().forward(x) * 2

    monkeypatch.setitem(models.REGISTRY.registered, "scaled", Scaled)
    pairs = ("freeze=backbone", "init_from=null")
    ways = [
        run_training(settings(*pairs, f"cache_features={cached}", model="scaled"), runs_dir=tmp_path)
        for cached in ("true", "false")
    ]

    assert equal(*map(weights_of, ways))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "efficientnet_v2_l", "inception_v3", "swin_t"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (640, 641), (90, 700)], ids=str)
def test_a_picture_goes_the_way_of_the_weights_bit_for_bit(name, size, paint, tmp_path):
    from PIL import Image

    from dlworkflow.data.images.transforms import parse

    picture = Image.open(paint(tmp_path / "noise.png", size=size))
    theirs = torchvision.models.get_model_weights(name).DEFAULT.transforms()

    mine = parse(published(name).steps(), channels=3)

    assert torch.equal(mine(picture), theirs(picture))


def test_the_preprocessing_of_the_weights_is_kept_with_the_run_and_used_to_predict(tmp_path, settings, pets):
    config = settings("data.transform=flip", "epochs=1")

    predictor = Predictor.from_run(run_training(config, runs_dir=tmp_path))

    way = predictor.transform
    assert (way.size, way.shorter, way.augmentations) == ((32, 32), 36, ())
    assert way.mean == (0.485, 0.456, 0.406)
    assert next(predictor.predict_images(sorted(pets.rglob("*.png"))[:1])).label in ("cat", "dog")


def test_an_augmentation_stands_between_the_crop_and_the_normalisation(settings):
    steps = settings("data.transform=trivial_augment").data.settings["transform"]

    assert [next(iter(step)) for step in steps] == ["resize", "center_crop", "trivial_augment", "normalize"]


def test_settings_of_a_run_with_weights_come_back_as_they_are(settings):
    config = settings("freeze=backbone", "data.transform=flip")

    assert resolve_config([Layer(config.to_tree())]) == config


def test_settings_of_older_runs_load_without_a_backbone(settings):
    tree = {key: value for key, value in settings().to_tree().items() if key not in ("freeze", "weights")}

    assert build_config(Layer(tree)).freeze == "none"


def test_grey_pictures_are_shown_to_an_rgb_backbone_in_three_channels():
    config = resolve_config([from_overrides([f"model={SMALL}", "data=digits", "data.image_size=32"])])

    splits = prepare(config).splits

    assert splits.in_shape == (3, 32, 32)
    assert len(splits.test[0][0]) == 3


def fault(settings, *pairs, model=SMALL):
    with pytest.raises(ConfigError) as refused:
        settings(*pairs, model=model)
    return str(refused.value)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (("weights=IMAGENET1K_V2",), "did you mean 'IMAGENET1K_V1'"),
        (("weights=nosuch.pth",), "no file 'nosuch.pth'"),
        (("freeze_epochs=1",), "freeze_epochs: only with freeze='backbone'"),
        (("freeze=backbone", "freeze_epochs=2"), "freeze_epochs: 2 of 2 epochs leave none to train the backbone in"),
        (("freeze=backbon",), "freeze: unknown value 'backbon'; did you mean 'backbone'?"),
        (("freeze=backbone", "backbone_lr_scale=0.1"), "backbone_lr_scale: the backbone stays frozen"),
        (("freeze=backbone", "weights=null"), "freeze: the backbone would keep its random initial weights"),
        (("data.channels=1",), "data.channels: model 'shufflenet_v2_x0_5' takes RGB images"),
        (("data.transform=[{resize: {shorter: 40}}, {center_crop: {size: 36}}]",), "contradicts data.image_size"),
        (("data.transform=[{center_crop: {size: 32}}]",), "needs a resize of the shorter side"),
        (("weights=default", "init_from=x.pth"), "leave one of the two out"),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused(settings, pairs, sentence):
    assert sentence in fault(settings, *pairs)


def test_all_faults_are_told_at_once(settings):
    found = fault(settings, "weights=nosuch.pth", "freeze=backbone", "freeze_epochs=7", "data.transform=flp")

    assert all(part in found for part in ("weights: no file", "freeze_epochs: 7 of 2", "did you mean 'flip'?"))


@pytest.mark.parametrize("pair", ["freeze=backbone", "freeze_epochs=1", "backbone_lr_scale=0.1"])
def test_a_model_without_a_backbone_is_refused_the_settings_for_one(settings, pair):
    assert "model 'tinyvgg' has no backbone" in fault(settings, "weights=null", pair, model="tinyvgg")


def test_a_sample_alone_in_the_last_batch_of_a_batch_norm_is_refused_before_training(settings):
    with pytest.raises(ConfigError, match=r"data.batch_size: 9 samples in batches of 4 leave a batch of one"):
        prepare(settings("data.batch_size=4"))


def test_weights_of_one_picture_size_refuse_another(settings):
    found = fault(settings, "weights=default", model="vit_b_32")

    assert "the weights IMAGENET1K_V1 of 'vit_b_32' take images of 224x224, not 32x32" in found


def test_an_unknown_model_gets_the_nearest_of_torchvisions(settings):
    assert "unknown model 'resnt18'; did you mean 'resnet18'?" in fault(settings, model="resnt18")


def test_every_published_file_carries_its_digest():
    for name in torchvision_models.names():
        for weights in torchvision.models.get_model_weights(name):
            digest = published(name, weights.name).digest
            assert re.fullmatch(r"[0-9a-f]{8,}", digest), weights.url
