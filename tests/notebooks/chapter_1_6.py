# Chapter 1-6, custom data: the photos of pizza, steak and sushi, in the notes' own loaders and in ours.

# %% imports
import random
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import dlworkflow as dlw
from dlworkflow import ImageFolderCustom, TinyVGG, display_random_images, find_classes, plot_loss_curves
from dlworkflow import plot_transformed_images, pred_and_plot_image, train, walk_through_dir

device = "cpu"
image_path = Path("data/pizza_steak_sushi")
train_dir, test_dir = image_path / "train", image_path / "test"

# %% the folder
walk_through_dir(image_path)
#> There are 2 directories and 0 images in 'data/pizza_steak_sushi'.
#> There are 3 directories and 0 images in 'data/pizza_steak_sushi/test'.
#> There are 0 directories and 25 images in 'data/pizza_steak_sushi/test/pizza'.
#> There are 0 directories and 19 images in 'data/pizza_steak_sushi/test/steak'.
#> There are 0 directories and 31 images in 'data/pizza_steak_sushi/test/sushi'.
#> There are 3 directories and 0 images in 'data/pizza_steak_sushi/train'.
#> There are 0 directories and 78 images in 'data/pizza_steak_sushi/train/pizza'.
#> There are 0 directories and 75 images in 'data/pizza_steak_sushi/train/steak'.
#> There are 0 directories and 72 images in 'data/pizza_steak_sushi/train/sushi'.

# %% one image [1 figure]
image_path_list = sorted(image_path.glob("*/*/*.jpg"))
img = Image.open(image_path_list[0])
plt.figure(figsize=(10, 7))
plt.imshow(img)
plt.title(f"Image class: {image_path_list[0].parent.stem}")
plt.axis(False);

# %% originals beside transformed images [3 figures]
data_transform = transforms.Compose([
    transforms.Resize(size=(64, 64)),
    transforms.RandomHorizontalFlip(p=0.5),
    transforms.ToTensor(),
])
plot_transformed_images(image_path_list,
                        transform=data_transform,
                        n=3)

# %% classes
find_classes(train_dir)
#> (['pizza', 'steak', 'sushi'], {'pizza': 0, 'steak': 1, 'sushi': 2})

# %% torchvision's ImageFolder and ours agree
train_data = datasets.ImageFolder(root=train_dir, transform=data_transform)
test_data = datasets.ImageFolder(root=test_dir, transform=data_transform)
class_names = train_data.classes
train_data_custom = ImageFolderCustom(targ_dir=train_dir, transform=data_transform)
test_data_custom = ImageFolderCustom(targ_dir=test_dir, transform=data_transform)
print((len(train_data_custom) == len(train_data)) & (len(test_data_custom) == len(test_data)))
print(train_data_custom.classes == train_data.classes)
print(train_data_custom.class_to_idx == train_data.class_to_idx)
#> True
#> True
#> True

# %% random images of an ImageFolder [1 figure]
display_random_images(train_data,
                      n=5,
                      classes=class_names,
                      seed=None)

# %% random images of a custom data set, more than ten [1 figure]
display_random_images(train_data_custom,
                      n=12,
                      classes=class_names,
                      seed=42)
#> n is 10 at most, not 12: drawing 10 images without shapes.

# %% random images in the middle of a cell [1 figure]
figure = display_random_images(train_data_custom, n=3, classes=class_names)
print(len(figure.axes))
#> 3

# %% a batch
train_dataloader_custom = DataLoader(dataset=train_data_custom, batch_size=1, num_workers=0, shuffle=True)
img_custom, label_custom = next(iter(train_dataloader_custom))
print(img_custom.shape, label_custom.shape)
#> torch.Size([1, 3, 64, 64]) torch.Size([1])

# %% an augmentation beside the originals [2 figures]
trivial = transforms.Compose([
    transforms.Resize((224, 224)),
    transforms.TrivialAugmentWide(num_magnitude_bins=31),
    transforms.ToTensor(),
])
plot_transformed_images(image_paths=image_path_list, transform=trivial, n=2, seed=None);

# %% the first model
simple_transform = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
train_data_simple = datasets.ImageFolder(root=train_dir, transform=simple_transform)
test_data_simple = datasets.ImageFolder(root=test_dir, transform=simple_transform)
train_dataloader_simple = DataLoader(train_data_simple, batch_size=32, shuffle=True, num_workers=0)
test_dataloader_simple = DataLoader(test_data_simple, batch_size=32, shuffle=False, num_workers=0)
torch.manual_seed(42)
model_0 = TinyVGG(input_shape=3, hidden_units=10, output_shape=len(train_data.classes)).to(device)
sum(parameter.numel() for parameter in model_0.parameters())
#> 10693

# %% torchinfo
from torchinfo import summary

print(*(line for line in str(summary(model_0, input_size=[1, 3, 64, 64])).splitlines() if "mult-adds" in line))
#> ...6.75

# %% the training prints a line for each epoch
loss_fn = nn.CrossEntropyLoss()
torch.manual_seed(42)
model_0 = TinyVGG(input_shape=3, hidden_units=10, output_shape=len(train_data.classes)).to(device)
optimizer = torch.optim.Adam(params=model_0.parameters(), lr=0.001)
model_0_results = train(model=model_0,
                        train_dataloader=train_dataloader_simple,
                        test_dataloader=test_dataloader_simple,
                        optimizer=optimizer,
                        loss_fn=loss_fn,
                        epochs=5,
                        averaging="batch")
#> Epoch: 1 | train_loss: 1.1... | train_acc: 0.2578 | test_loss: 1.1... | test_acc: 0.2604
#> Epoch: 2 | train_loss: 1.0... | train_acc: 0.4258 | test_loss: 1.1... | test_acc: 0.1979
#> Epoch: 3 | train_loss: 1.1... | train_acc: 0.2930 | test_loss: 1.1... | test_acc: 0.1979
#> Epoch: 4 | train_loss: 1.0... | train_acc: 0.4141 | test_loss: 1.1... | test_acc: 0.1979
#> Epoch: 5 | train_loss: 1.0... | train_acc: 0.2930 | test_loss: 1.1... | test_acc: 0.1979

# %% the same silently
torch.manual_seed(42)
quiet = TinyVGG(input_shape=3, hidden_units=10, output_shape=3)
optimizer = torch.optim.Adam(params=quiet.parameters(), lr=0.001)
train(quiet, train_dataloader_simple, test_dataloader_simple, optimizer, epochs=1, verbose=False);

# %% with TensorBoard
writer = dlw.create_writer(experiment_name="data_10_percent", model_name="tinyvgg", extra="1_epoch")
train(quiet, train_dataloader_simple, test_dataloader_simple, optimizer, epochs=1, writer=writer, verbose=False)
writer.close()
print(len(list(Path("runs").glob("*/data_10_percent/tinyvgg/1_epoch/**/events*"))) > 0, dlw.list_runs())
#> [INFO] Created SummaryWriter, saving to: runs/...
#> True []

# %% download_data of the later chapters
import shutil

archive = Path(shutil.make_archive("three", "zip", test_dir))
dlw.download_data(source=archive.resolve().as_uri(), destination="three", remove_source=True)
print(sorted(path.name for path in Path("data/three").iterdir()), archive.exists())
#> ...
#> ['pizza', 'steak', 'sushi'] True

# %% its curves [1 figure]
plot_loss_curves(model_0_results)

# %% the model with augmentation
train_transform_trivial_augment = transforms.Compose([
    transforms.Resize((64, 64)),
    transforms.TrivialAugmentWide(num_magnitude_bins=31),
    transforms.ToTensor(),
])
train_data_augmented = datasets.ImageFolder(train_dir, transform=train_transform_trivial_augment)
train_dataloader_augmented = DataLoader(train_data_augmented, batch_size=32, shuffle=True, num_workers=0)
torch.manual_seed(42)
model_1 = TinyVGG(input_shape=3, hidden_units=10, output_shape=len(train_data_augmented.classes)).to(device)
torch.manual_seed(42)
optimizer = torch.optim.Adam(params=model_1.parameters(), lr=0.001)
model_1_results = train(model_1, train_dataloader_augmented, test_dataloader_simple, optimizer, loss_fn, 5, averaging="batch")
#> Epoch: 1 | train_loss: ...
#> Epoch: 2 | train_loss: ...
#> Epoch: 3 | train_loss: ...
#> Epoch: 4 | train_loss: ...
#> Epoch: 5 | train_loss: ...

# %% both in one figure [1 figure]
dlw.plot_run_curves({"Model 0": model_0_results, "Model 1": model_1_results});

# %% an image of bytes is refused with the way out
custom_image_path = sorted((test_dir / "pizza").glob("*.jpg"))[0]
custom_image_uint8 = torchvision.io.read_image(str(custom_image_path))
dlw.check_batch(model_1, custom_image_uint8.unsqueeze(0))
#> BatchError: wrong dtype: expected X of float32, as the model's weights are, got uint8; fix: images.float() / 255

# %% so is one without a batch dimension
custom_image_transform = transforms.Compose([transforms.Resize((64, 64))])
custom_image_transformed = custom_image_transform(custom_image_uint8.type(torch.float32) / 255.0)
dlw.check_batch(model_1, custom_image_transformed)
#> BatchError: wrong shape: expected (n, 3, height, width), got (3, 64, 64); fix: image.unsqueeze(0)

# %% predict and draw a photo [1 figure]
pred_and_plot_image(model=model_1,
                    image_path=custom_image_path,
                    class_names=class_names,
                    transform=custom_image_transform,
                    device=device)

# %% predict and draw photos in a loop [3 figures]
for path in sorted(test_dir.glob("sushi/*.jpg"))[:3]:
    pred_and_plot_image(model_1, path, class_names, custom_image_transform)
    plt.show()

# %% the forms of the later chapters [2 figures]
pred_and_plot_image(model=model_1, image_path=str(custom_image_path), class_names=class_names, image_size=(64, 64))
plt.show()
pred_and_plot_image(model_1, class_names, custom_image_path, transform=simple_transform)

# %% saving prints where
dlw.save_model(model=model_0, target_dir="models", model_name="04_model_0.pth");
#> [INFO] Saving model to: models/04_model_0.pth

# %% a cell that prints nothing
with open("models/04_model_0.pth", "rb") as file:
    TinyVGG(3, 10, 3).load_state_dict(torch.load(file, weights_only=True));
