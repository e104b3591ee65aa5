import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.transforms import parse
from dlworkflow.errors import ConfigError

FLIPPED_AND_AUGMENTED = [{"flip": {"p": 0.3}}, {"trivial_augment": {"num_magnitude_bins": 7}}]


def noise(mode="RGB", size=(37, 23)):
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def many_times(way, picture, n=40):
    torch.manual_seed(42)
    return torch.stack([way(picture) for _ in range(n)])


@pytest.mark.parametrize("size", [(16, 16), (10, 30), (64, 64), (1, 1), (23, 37)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_resize_is_torchvisions_bit_for_bit(mode, size):
    theirs = transforms.Compose([transforms.Resize(size), transforms.ToTensor()])

    assert torch.equal(Pipeline(size)(noise(mode)), theirs(noise(mode)))


@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        ("flip", [transforms.RandomHorizontalFlip()]),
        ([{"flip": {"p": 0.2}}], [transforms.RandomHorizontalFlip(p=0.2)]),
        ("trivial_augment", [transforms.TrivialAugmentWide()]),
        ([{"trivial_augment": {"num_magnitude_bins": 5}}], [transforms.TrivialAugmentWide(num_magnitude_bins=5)]),
        ("flip,trivial_augment", [transforms.RandomHorizontalFlip(), transforms.TrivialAugmentWide()]),
        ("trivial_augment,flip", [transforms.TrivialAugmentWide(), transforms.RandomHorizontalFlip()]),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_augmentation_is_torchvisions_for_the_same_seed(spec, theirs, mode):
    mine = many_times(parse(spec, image_size=16), noise(mode))
    theirs = many_times(transforms.Compose([transforms.Resize((16, 16)), *theirs, transforms.ToTensor()]), noise(mode))

    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_augmentation_draws_as_often_as_torchvisions(mode):
    many_times(parse("trivial_augment", image_size=16), noise(mode))
    mine = torch.random.get_rng_state()
    many_times(transforms.Compose([transforms.TrivialAugmentWide(), transforms.ToTensor()]), noise(mode))

    assert torch.equal(torch.random.get_rng_state(), mine)


@pytest.mark.parametrize("bins", [2, 31])
def test_every_number_of_bins_that_is_taken_works(bins):
    pipeline = parse([{"trivial_augment": {"num_magnitude_bins": bins}}], image_size=8)

    assert many_times(pipeline, noise(), n=300).shape == (300, 3, 8, 8)


def test_normalize_is_torchvisions_with_imagenets_statistics():
    theirs = transforms.Compose(
        [
            transforms.Resize((16, 16)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    assert torch.equal(parse("normalize", image_size=16)(noise()), theirs(noise()))


def test_normalize_of_one_channel_lies_around_zero():
    black, white = (parse("normalize", image_size=4, channels=1)(Image.new("L", (4, 4), v)) for v in (0, 255))

    assert (black.unique().tolist(), white.unique().tolist()) == ([-1.0], [1.0])


def test_normalize_takes_statistics_of_its_own():
    pipeline = parse([{"normalize": {"mean": [1.0, 0.5, 0.0], "std": [1.0, 0.5, 0.25]}}], image_size=1)

    assert pipeline(Image.new("RGB", (1, 1), "white")).flatten().tolist() == [0.0, 1.0, 4.0]


def test_normalize_takes_one_number_for_all_channels():
    assert parse([{"normalize": {"mean": 0.5, "std": 0.25}}], image_size=1).std == (0.25, 0.25, 0.25)


def test_turning_pixels_into_floats_leaves_the_pixels_alone():
    pixels = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    parse("normalize", image_size=2).to_float(pixels)

    assert pixels.unique().tolist() == [100]


def test_evaluation_keeps_size_and_statistics_and_drops_chance():
    assert parse("flip,trivial_augment,normalize", image_size=16).for_evaluation() == parse("normalize", image_size=16)


def test_a_pipeline_without_chance_draws_nothing():
    before = torch.random.get_rng_state()
    parse("normalize", image_size=16)(noise())

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        "none",
        "flip",
        "trivial_augment,normalize",
        [*FLIPPED_AND_AUGMENTED, {"normalize": {"mean": [0.1] * 3, "std": [0.2] * 3}}],
    ],
)
def test_a_pipeline_comes_back_from_json(spec):
    pipeline = parse(spec, image_size=[16, 20])

    assert parse(json.loads(json.dumps(pipeline.to_spec()))) == pipeline


def test_a_grey_pipeline_comes_back_from_json():
    pipeline = parse("normalize", image_size=8, channels=1)

    assert parse(json.loads(json.dumps(pipeline.to_spec())), channels=1) == pipeline


@pytest.mark.parametrize("spec", [None, "none", [], ["none"]])
def test_no_transform_is_the_size_alone(spec):
    assert parse(spec, image_size=8) == Pipeline((8, 8))


def test_names_in_one_text_are_a_list_of_steps():
    assert parse(" flip , normalize", image_size=8) == parse(["flip", {"normalize": None}], image_size=8)


def test_the_size_of_a_resize_step_is_taken():
    assert parse([{"resize": {"size": [4, 6]}}]).size == (4, 6)


def test_a_resize_step_is_not_silently_overruled():
    with pytest.raises(ConfigError, match=r"data\.image_size"):
        parse([{"resize": {"size": 16}}], image_size=8)


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("flop", "data.transform: unknown transform 'flop'; did you mean 'flip'?"),
        ("trivialaugment", "data.transform: unknown transform 'trivialaugment'; did you mean 'trivial_augment'?"),
        ([{"flip": {"q": 1}}], "data.transform.flip.q: augmentation 'flip': unknown setting 'q'; possible: p"),
        ([{"flip": {"p": 2}}], "data.transform.flip.p: must be between 0 and 1, not 2"),
        ([{"flip": 0.5}], "data.transform.flip: settings are a mapping, not 0.5"),
        (
            [{"trivial_augment": {"num_magnitude_bins": 1}}],
            "data.transform.trivial_augment.num_magnitude_bins: must be between 2 and 1,024, not 1",
        ),
        ([{"flip": {}, "normalize": {}}], "data.transform: a step is a name or {name: {setting: value}}"),
        ([3], "data.transform: a step is a name or {name: {setting: value}}, not 3"),
        (3, "data.transform: must be a name or a list of steps, not 3"),
        ({"flip": {"p": 0.5}}, "data.transform: must be a name or a list of steps"),
        ("normalize,flip", "data.transform: 'flip' works on images and must come before 'normalize'"),
        (
            [{"normalize": {"mean": [0.5], "std": 0.5}}],
            "data.transform.normalize.mean: must be 3 number(s), one per channel, not [0.5]",
        ),
        ([{"normalize": {"std": 0}}], "data.transform.normalize.std: must be 3 number(s) above 0"),
        ([{"normalize": {"mean": "grey"}}], "data.transform.normalize.mean: must be 3 number(s), one per channel"),
        (
            [{"normalize": {"men": 0.5}}],
            "data.transform.normalize.men: transform 'normalize': unknown setting 'men'; did you mean 'mean'?",
        ),
        ([{"resize": {"sise": 8}}], "data.transform.resize"),
    ],
)
def test_a_wrong_step_is_refused_by_name(spec, fault):
    with pytest.raises(ConfigError) as caught:
        parse(spec, image_size=8)

    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize("size", [0, -1, 8.0, "8", True, [8], [8, 8, 8], [8, 0], [8, "8"], []])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(ConfigError, match=r"data\.image_size: must be one side or \[height, width\] in pixels"):
        parse(None, image_size=size)


def test_a_missing_size_is_named():
    with pytest.raises(ConfigError, match=r"data\.image_size: is missing"):
        parse("flip")


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse(["flop", {"flip": {"p": 2}}], image_size=0)

    assert len(caught.value.faults) == 3


def test_a_crop_and_its_interpolation_come_back_from_what_a_run_stores():
    way = Pipeline((20, 16), mean=(0.5,) * 3, std=(0.5,) * 3, shorter=24, interpolation="bicubic")

    assert parse(json.loads(json.dumps(way.to_spec())), channels=3) == way


@pytest.mark.parametrize(
    ("resize", "sentence"),
    [
        ({"shorter": 10}, "resize.shorter: must be at least 16"),
        ({"shorter": 20, "interpolation": "bicubc"}, "did you mean 'bicubic'"),
        ({"shorter": 20, "size": 16}, "not both"),
        ({"shorter": True}, "must be a whole number"),
    ],
    ids=str,
)
def test_a_resize_that_leaves_no_crop_is_refused(resize, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse([{"resize": resize}, {"center_crop": {"size": 16}}])


def test_fast_decoding_is_part_of_the_pipeline_that_a_run_stores():
    fast = parse(None, image_size=32, fast_decode=True)

    assert parse(fast.to_spec()) == fast
    assert fast.for_evaluation().fast_decode


def test_fast_decoding_is_true_or_false():
    with pytest.raises(ConfigError, match=r"data\.transform\.resize\.fast_decode: must be true or false, not 'yes'"):
        parse([{"resize": {"size": 8, "fast_decode": "yes"}}])


def test_fast_decoding_reads_a_large_jpeg_to_nearly_the_same_picture(tmp_path):
    gradient = np.linspace(0, 255, 640 * 480 * 3).reshape(480, 640, 3).astype(np.uint8)
    Image.fromarray(gradient).save(tmp_path / "large.jpg", quality=95)
    plain, fast = (
        np.asarray(parse(None, image_size=64, fast_decode=way).read(tmp_path / "large.jpg", 3), dtype=int)
        for way in (False, True)
    )

    assert (plain != fast).any()
    assert abs(plain - fast).max() <= 8


def test_fast_decoding_never_reads_a_picture_smaller_than_it_is_used(tmp_path, monkeypatch):
    Image.new("RGB", (640, 480)).save(tmp_path / "large.jpg")
    asked = []
    monkeypatch.setattr(
        Pipeline, "resize", lambda self, image: asked.append(image.size) or image.resize(self.size[::-1])
    )
    for size in (32, 100, 300):
        parse(None, image_size=size, fast_decode=True).read(tmp_path / "large.jpg", 3)

    assert asked == [(160, 120), (320, 240), (640, 480)]


def test_fast_decoding_leaves_other_formats_as_they_are(tmp_path, paint):
    path = paint(tmp_path / "a.png", size=(300, 200))
    plain, fast = (parse(None, image_size=16, fast_decode=way).read(path, 3) for way in (False, True))

    assert plain.tobytes() == fast.tobytes()


def test_an_image_size_beyond_all_pictures_is_refused():
    with pytest.raises(ConfigError, match="at most 89,478,485 pixels, not 100000 x 100000"):
        parse(None, image_size=100_000)


def presets():
    from torchvision.transforms import v2

    smooth = v2.InterpolationMode.BILINEAR
    return {
        "rotation": ({"degrees": 30.0}, v2.RandomRotation(30, interpolation=smooth)),
        "color_jitter": ({"brightness": 0.5, "hue": 0.1}, v2.ColorJitter(0.5, 0.2, 0.2, 0.1)),
        "random_crop": ({"padding": 3}, v2.RandomCrop((16, 16), padding=3)),
        "random_resized_crop": ({"scale": [0.2, 0.9]}, v2.RandomResizedCrop((16, 16), scale=(0.2, 0.9))),
        "rand_augment": ({"num_ops": 3}, v2.RandAugment(3)),
        "trivial_augment_wide_v2": ({}, v2.TrivialAugmentWide()),
        "auto_augment": ({"policy": "svhn"}, v2.AutoAugment(v2.AutoAugmentPolicy.SVHN)),
    }


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_presets_are_torchvisions_v2_for_the_same_seed(mode):
    for name, (settings, theirs) in presets().items():
        way = [transforms.Resize((16, 16)), theirs, transforms.ToTensor()]

        mine = many_times(parse([{name: settings}], image_size=16), noise(mode), 8)

        assert torch.equal(mine, many_times(transforms.Compose(way), noise(mode), 8)), name
        assert mine.unique(dim=0).shape[0] > 1, name


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_random_erasing_blackens_a_rectangle(mode):
    picture = Image.new(mode, (16, 16), "white")

    [erased] = many_times(parse([{"random_erasing": {"p": 1.0}}], image_size=16), picture, 1)

    assert set(erased.unique().tolist()) == {0.0, 1.0}


def test_presets_are_put_one_after_the_other():
    pipeline = parse(["flip", {"rotation": {"degrees": 10}}, "random_erasing", "normalize"], image_size=16)

    assert [next(iter(step)) for step in pipeline.to_spec()] == [
        "resize",
        "flip",
        "rotation",
        "random_erasing",
        "normalize",
    ]
    assert parse(pipeline.to_spec()) == pipeline


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (
            {"rotation": {"degrees": -1.0}},
            "data.transform.rotation.degrees: must be a number of at least 0, or [low, high], not -1.0",
        ),
        ({"random_crop": {"size": 3}}, "unknown setting 'size'"),
        ({"auto_augment": {"policy": "imagnet"}}, "did you mean 'imagenet'"),
        ({"random_erasing": {"scale": [0.5, 0.1]}}, "data.transform.random_erasing: "),
        ({"random_resized_crop": {"scale": [0.5]}}, "data.transform.random_resized_crop: "),
    ],
)
def test_a_preset_that_cannot_be_is_refused(step, fault):
    with pytest.raises(ConfigError) as caught:
        parse([step], image_size=16)
    assert fault in str(caught.value)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("size", [(900, 7), (7, 900), (301, 200), (5, 5), (33, 1200)])
def test_a_crop_that_is_made_before_resizing_has_the_same_pixels_within_a_level(monkeypatch, interpolation, size):
    pipeline = parse([{"resize": {"shorter": 64, "interpolation": interpolation}}], image_size=[40, 56])
    whole = np.asarray(pipeline.resize(noise(size=size))).astype(int)
    monkeypatch.setattr("dlworkflow.data.images.pipeline._MOST_RESIZED", 1)

    differences = np.abs(np.asarray(pipeline.resize(noise(size=size))).astype(int) - whole)

    if interpolation in ("nearest", "box"):  # a position between two pixels may fall on either
        assert (differences <= 1).mean() > 0.95
    else:
        assert differences.max() <= 1


@pytest.mark.parametrize("size", [(1, 900), (2, 500), (900, 1)])
def test_a_long_picture_is_stretched_by_its_short_steps_first(monkeypatch, size):
    whole = np.asarray(Pipeline((40, 56)).resize(noise(size=size))).astype(int)
    monkeypatch.setattr("dlworkflow.data.images.pipeline._MOST_RESIZED", 1)

    assert np.abs(np.asarray(Pipeline((40, 56)).resize(noise(size=size))).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("size", [(20000, 1), (1, 8000), (1, 5_000_000), (5_000_000, 1), (3, 1_000_000)])
@pytest.mark.parametrize("spec", [None, [{"resize": {"shorter": 256}}]])
def test_no_picture_becomes_much_larger_than_its_file_or_the_model_asks(monkeypatch, size, spec):
    made = []
    resize, crop = Image.Image.resize, Image.Image.crop

    def watched(self, to, *args, **kwargs):
        made.append(to[0] * max(to[1], self.height))  # Pillow's first pass widens every row
        return resize(self, to, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", watched)
    monkeypatch.setattr(Image.Image, "crop", lambda self, box=None: crop(self, box))
    pipeline = parse(spec, image_size=224)

    assert pipeline.resize(Image.new("RGB", size)).size == (224, 224)
    assert max(made) <= 2**24


def test_a_range_of_values_comes_back_from_what_a_run_stores():
    pipeline = parse(None, image_size=8, channels=1, value_range=[-1000, 3000])

    assert pipeline.to_spec()[0] == {"range": {"low": -1000.0, "high": 3000.0}}
    assert parse(json.loads(json.dumps(pipeline.to_spec())), channels=1) == pipeline


@pytest.mark.parametrize("given", [[1], [2, 1], [1, 1], ["a", 2], [0, float("inf")], [0, float("nan")], 5, [True, 2]])
def test_a_range_that_is_none_is_refused(given):
    with pytest.raises(
        ConfigError, match=r"data\.range: must be \[low, high\], two numbers of which the second is lar"
    ):
        parse(None, image_size=8, value_range=given)


@pytest.mark.parametrize("step", [{}, {"low": 1}, {"high": 1, "low": 2}, {"low": 1, "high": 1}, {"each": False}])
def test_a_step_of_range_that_is_none_is_refused(step):
    with pytest.raises(ConfigError, match=r"data\.transform\.range: must be {low: \.\., high: \.\.}"):
        parse([{"range": step}], image_size=8)


def test_two_ranges_that_differ_are_refused():
    with pytest.raises(ConfigError, match=r"data\.transform\.range: \(0\.0, 1\.0\) contradicts data\.range"):
        parse([{"range": {"low": 0, "high": 1}}], image_size=8, value_range=[0, 2])
