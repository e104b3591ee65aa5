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

