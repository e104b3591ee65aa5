import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler
from torchvision import datasets, transforms

from dlworkflow import data
from dlworkflow.data.datasets.image_folder import load_image_folder
from dlworkflow.data.datasets.tabular import TensorData
from dlworkflow.data.images.dataset import ImageData
from dlworkflow.data.images.transforms import parse
from dlworkflow.data.loaders import create_dataloaders, explained_workers, make_loader
from dlworkflow.data.protocol import on_device
from dlworkflow.errors import ConfigError, DataError


def points(n=10):
    return TensorData(torch.arange(2.0 * n).view(n, 2), torch.arange(n))


class Squares(Dataset):
    """A data set of the user's own that knows one sample at a time."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return torch.tensor([float(index)]), index**2


def labels_of(loader):
    return [y.tolist() for _, y in loader]


def passes(loader, n):
    """Go through a loader `n` times from the same seed: its batches, and the global generator afterwards."""
    torch.manual_seed(42)
    return [batch for _ in range(n) for batch in loader], torch.random.get_rng_state()


def equal(mine, theirs):
    return len(mine) == len(theirs) and all(
        torch.equal(a, b) for (X, y), (U, v) in zip(mine, theirs, strict=True) for a, b in ((X, U), (y, v))
    )


def stock_folder(root, *augmentations):
    way = [transforms.Resize((16, 16)), *augmentations, transforms.ToTensor()]
    return datasets.ImageFolder(root, transforms.Compose(way))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_weighted_draw_is_that_of_the_stock_sampler(workers):
    weights = torch.arange(10.0)
    mine, state = passes(make_loader(points(), 4, weights=weights, shuffle=True, num_workers=workers), 2)
    theirs, expected = passes(DataLoader(points(), 4, sampler=WeightedRandomSampler(weights, 10)), 2)

    assert equal(mine, theirs)
    assert torch.equal(state, expected)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_no_samples_is_an_error(size):
    with pytest.raises(ConfigError, match=f"batch_size: must be at least 1 or 'full', not {size}"):
        make_loader(data.load("blobs").train, size)


def test_a_full_batch_is_drawn_by_weights_too():
    [labels] = labels_of(make_loader(points(), "full", weights=torch.eye(10)[3]))

    assert labels == [3] * 10


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("epochs", [1, 3])
def test_batches_are_those_of_the_stock_loader(shuffle, workers, epochs):
    mine, _ = passes(make_loader(points(), 4, shuffle=shuffle, num_workers=workers), epochs)
    theirs, _ = passes(DataLoader(points(), 4, shuffle=shuffle, num_workers=workers), epochs)

    assert equal(mine, theirs)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("epochs", [1, 3])
def test_the_global_generator_is_drawn_from_as_by_the_stock_loader(shuffle, workers, epochs):
    _, mine = passes(make_loader(points(), 4, shuffle=shuffle, num_workers=workers), epochs)
    _, theirs = passes(DataLoader(points(), 4, shuffle=shuffle, num_workers=workers), epochs)

    assert torch.equal(mine, theirs)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        (None, []),
        ("flip", [transforms.RandomHorizontalFlip()]),
        ("trivial_augment", [transforms.TrivialAugmentWide()]),
    ],
    ids=["plain", "flip", "trivial_augment"],
)
@pytest.mark.parametrize("epochs", [1, 2])
def test_pictures_come_as_through_torchvisions_pipeline(pets, spec, theirs, workers, epochs):
    splits = load_image_folder(path=str(pets), image_size=16, transform=spec)
    mine, _ = passes(make_loader(splits.train, 2, shuffle=True, num_workers=workers), epochs)
    stock = DataLoader(stock_folder(pets / "train", *theirs), 2, shuffle=True, num_workers=workers)

    assert equal(mine, passes(stock, epochs)[0])


def test_photos_come_as_through_torchvisions_pipeline(photos):
    splits = data.load("image_folder", path=str(photos), image_size=16, transform="trivial_augment")
    mine, _ = passes(make_loader(splits.train, 32, shuffle=True), 1)
    theirs, _ = passes(DataLoader(stock_folder(photos / "train", transforms.TrivialAugmentWide()), 32, shuffle=True), 1)

    assert equal(mine, theirs)


class Batched(Squares):
    """A data set of the user's own that answers for many samples at once, each time anew."""

    def __init__(self):
        self.asked = []

    def batch(self, indices):
        self.asked.append(indices)
        return torch.tensor([[float(index)] for index in indices]), torch.tensor(indices)


def test_a_data_set_that_answers_batches_is_asked_once_a_batch():
    dataset = Batched()
    list(make_loader(dataset, 2))

    assert dataset.asked == [[0, 1], [2, 3], [4]]


def test_what_lies_in_memory_is_gathered_many_batches_at_once(monkeypatch):
    asked = []
    batch = TensorData.batch
    monkeypatch.setattr(TensorData, "batch", lambda self, indices: asked.append(len(indices)) or batch(self, indices))

    assert ([len(y) for _, y in make_loader(points(), 4)], asked) == ([4, 4, 2], [10])


def test_no_more_is_gathered_at_once_than_the_limit(monkeypatch):
    monkeypatch.setattr("dlworkflow.data.loaders._CHUNK_BYTES", 8 * 8)  # eight points of two floats
    asked = []
    batch = TensorData.batch
    monkeypatch.setattr(TensorData, "batch", lambda self, indices: asked.append(len(indices)) or batch(self, indices))
    list(make_loader(points(), 4))

    assert asked == [8, 2]


def test_augmented_pictures_are_drawn_batch_by_batch(pets, monkeypatch):
    splits = load_image_folder(path=str(pets), image_size=16, transform="trivial_augment")
    asked = []
    batch = type(splits.train).batch
    monkeypatch.setattr(
        type(splits.train), "batch", lambda self, indices: asked.append(len(indices)) or batch(self, indices)
    )
    list(make_loader(splits.train, 4))

    assert asked == [4, 4, 1]  # else the model's own draws, as dropout's, would not come between those of two batches


def test_a_generator_of_its_own_leaves_the_global_one_alone():
    before = torch.random.get_rng_state()
    list(make_loader(points(), 4, shuffle=True, generator=torch.Generator().manual_seed(0)))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_generator_of_its_own_decides_the_order():
    orders = [
        labels_of(make_loader(points(), 4, shuffle=True, generator=torch.Generator().manual_seed(0))) for _ in range(2)
    ]

    assert orders[0] == orders[1]


def test_a_data_set_of_single_samples_is_batched_too():
    assert labels_of(make_loader(Squares(), 2)) == [[0, 1], [4, 9], [16]]


def test_full_is_one_batch_in_order():
    assert labels_of(make_loader(points(3), "full")) == [[0, 1, 2]]


def test_full_draws_nothing():
    before = torch.random.get_rng_state()
    list(make_loader(points(), "full"))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_full_can_be_gone_through_again():
    loader = make_loader(points(3), "full")

    assert labels_of(loader) == labels_of(loader)


def test_full_of_single_samples_is_one_batch():
    assert labels_of(make_loader(Squares(), "full")) == [[0, 1, 4, 9, 16]]


def test_full_and_shuffled_is_one_batch_of_all_samples():
    mine, _ = passes(make_loader(points(100), "full", shuffle=True), 1)

    assert equal(mine, passes(DataLoader(points(100), 100, shuffle=True), 1)[0])


def test_full_is_augmented_anew_each_pass(pets):
    loader = make_loader(load_image_folder(path=str(pets), image_size=16, transform="trivial_augment").train, "full")
    [(first, _)], [(second, _)] = list(loader), list(loader)

    assert not torch.equal(first, second)


class Noise(Batched):
    """A data set of the user's own whose samples are new each time."""

    def batch(self, indices):
        return torch.rand(len(indices), 1), torch.arange(len(indices))


def test_full_of_a_data_set_that_may_be_random_is_read_anew_each_pass():
    loader = make_loader(Noise(), "full")
    [(first, _)], [(second, _)] = list(loader), list(loader)

    assert not torch.equal(first, second)


def test_full_of_the_test_split_is_never_augmented(pets):
    splits = load_image_folder(path=str(pets), image_size=16, transform="trivial_augment")
    [(X, _)] = make_loader(splits.test, "full")

    assert torch.equal(X, torch.stack([picture for picture, _ in stock_folder(pets / "test")]))


def test_pictures_are_read_when_the_loader_is_made_and_not_again(pets):
    loader = make_loader(load_image_folder(path=str(pets)).train, 4)
    for path in (pets / "train").rglob("*.png"):
        path.unlink()

    assert [len(y) for _, y in loader] == [4, 4, 1]


def test_an_unreadable_picture_is_named_when_the_loader_is_made(pets):
    (pets / "train" / "dog" / "1.png").write_text("no image")

    with pytest.raises(DataError, match=r"dog/1\.png': is no image"):
        make_loader(load_image_folder(path=str(pets)).train, 4)


def test_dataloaders_of_two_folders_name_the_classes(pets):
    _, _, classes = create_dataloaders(pets / "train", pets / "test")

    assert classes == ["cat", "dog"]


def test_dataloaders_of_two_folders_give_scaled_pictures_of_64_pixels(pets):
    train, _, _ = create_dataloaders(pets / "train", pets / "test", batch_size=3)
    X, _ = next(iter(train))

    assert (X.shape, X.dtype, bool(X.max() <= 1)) == ((3, 3, 64, 64), torch.float32, True)


def test_dataloaders_of_two_folders_take_the_notes_transform(pets):
    way = transforms.Compose([transforms.Resize((5, 6)), transforms.ToTensor()])
    _, test, _ = create_dataloaders(pets / "train", pets / "test", way, 4, 0)
    theirs = DataLoader(datasets.ImageFolder(pets / "test", way), 4)

    assert equal(list(test), list(theirs))


def test_dataloaders_of_two_folders_shuffle_as_the_notes_do(pets):
    way = transforms.Compose([transforms.Resize((5, 6)), transforms.ToTensor()])
    train, _, _ = create_dataloaders(pets / "train", pets / "test", way, batch_size=2)
    theirs = DataLoader(datasets.ImageFolder(pets / "train", way), 2, shuffle=True)

    assert equal(passes(train, 1)[0], passes(theirs, 1)[0])


def test_dataloaders_work_with_workers(pets):
    _, test, _ = create_dataloaders(pets / "train", pets / "test", batch_size=3, num_workers=2)

    assert labels_of(test) == [[0, 0, 1], [1]]


def test_dataloaders_match_the_test_folders_classes_by_name(pets):
    for path in (pets / "test" / "cat").iterdir():
        path.unlink()
    (pets / "test" / "cat").rmdir()
    _, test, _ = create_dataloaders(pets / "train", pets / "test")

    assert labels_of(test) == [[1, 1]]


def test_dataloaders_refuse_a_class_that_only_the_test_folder_has(pets, paint):
    paint(pets / "test" / "eel" / "0.png")

    with pytest.raises(DataError, match=r"classes only in '.*test': 'eel'; .*'cat', 'dog'.*'cat', 'dog', 'eel'"):
        create_dataloaders(pets / "train", pets / "test")


def test_on_an_accelerator_samples_lie_there_and_are_gathered_there(monkeypatch):
    there = torch.device("meta")  # a device that every machine has
    monkeypatch.setattr("dlworkflow.data.loaders.free_memory", lambda device: 10**9)
    pictures = torch.zeros(9, 3, 4, 4, dtype=torch.uint8)
    way = parse("normalize", image_size=4)
    for dataset in (points(), ImageData(pictures, torch.arange(9), way)):
        X, y = next(iter(make_loader(dataset, 4, device=there)))
        assert (X.device, y.device, len(y), X.dtype) == (there, there, 4, torch.float32)


@pytest.mark.parametrize(("free", "moved"), [(160, True), (159, False)])
def test_samples_that_take_more_than_half_of_an_accelerators_memory_stay(monkeypatch, free, moved):
    asked = []
    monkeypatch.setattr(TensorData, "on_device", lambda self, device: asked.append(device) or self)
    on_device(points(), torch.device("cuda:0"), free)  # ten points of two floats: 80 bytes

    assert bool(asked) is moved


def test_samples_on_a_device_are_those_in_memory():
    there = points().on_device(torch.device("cpu"))

    assert torch.equal(there.batch([3, 1])[0], points().batch([3, 1])[0])


@pytest.mark.slow
class Hangs(TensorDataset):
    """Samples that never come."""

    def __getitem__(self, index):
        time.sleep(60)


def test_workers_that_hang_end_in_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr("dlworkflow.data.loaders.WORKER_TIMEOUT", 1)
    loader = make_loader(Hangs(torch.zeros(4)), num_workers=1)

    with (
        pytest.raises(DataError, match=r"no batch for 1 seconds; data\.num_workers=0 reads"),
        explained_workers(),
    ):
        next(iter(loader))


def test_workers_that_are_spawned_make_the_batches_of_forked_ones(pets, monkeypatch):
    part = data.load("image_folder", path=str(pets), image_size=8).train
    forked, _ = passes(make_loader(part, 3, shuffle=True, num_workers=1), 1)
    monkeypatch.setattr("dlworkflow.data.loaders.START_METHOD", "spawn")
    spawned, _ = passes(make_loader(part, 3, shuffle=True, num_workers=1), 1)

    assert equal(spawned, forked)
