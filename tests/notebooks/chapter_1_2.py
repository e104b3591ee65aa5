# Chapter 1-2, tensors, devices and seeds: the three common errors on purpose, and what dlworkflow says about them.

# %% imports
import torch
from torch import nn

import dlworkflow as dlw

# %% shape, dtype and device
some_tensor = torch.rand(3, 4)
print(some_tensor.shape, some_tensor.dtype, some_tensor.device)
#> torch.Size([3, 4]) torch.float32 cpu

# %% the same seed gives the same numbers
dlw.set_seeds(42)
random_tensor_C = torch.rand(3, 4)
dlw.set_seeds(42)
random_tensor_D = torch.rand(3, 4)
print((random_tensor_C == random_tensor_D).all())
#> tensor(True)

# %% a linear layer
torch.manual_seed(42)
linear = nn.Linear(in_features=2, out_features=6)
tensor_A = torch.tensor([[1, 2], [3, 4], [5, 6]], dtype=torch.float32)
linear(tensor_A).shape
#> torch.Size([3, 6])

# %% the device
device = dlw.choose_device("auto")
device.type in ("cuda", "mps", "cpu")
#> True

# %% wrong shape
dlw.check_batch(linear, tensor_A.T)
#> BatchError: wrong shape: expected (n, 2), got (2, 3); fix: X.T

# %% wrong dtype
dlw.check_batch(linear, tensor_A.type(torch.int64))
#> BatchError: wrong dtype: expected X of float32, as the model's weights are, got int64; fix: X.to(torch.float32)

# %% wrong device
dlw.check_batch(linear, tensor_A.to("meta"))
#> BatchError: wrong device: expected X on cpu, where the model is, got X on meta; fix: X.to("cpu")

# %% a device that is not there
try:
    dlw.choose_device("cuda:99")
except dlw.DlwError as error:
    print("is not on this machine" in str(error), "--" in str(error))
#> True False

# %% one image without a batch dimension
conv = nn.Conv2d(3, 10, kernel_size=3)
model = nn.Sequential(conv, nn.Flatten(), nn.Linear(10 * 62 * 62, 3))
image = torch.rand(size=(224, 224, 3)).permute(2, 0, 1)[:, :64, :64]
dlw.check_batch(model, image)
#> BatchError: wrong shape: expected (n, 3, height, width), got (3, 64, 64); fix: image.unsqueeze(0)

# %% an image as bytes
dlw.check_batch(model, (image * 255).type(torch.uint8).unsqueeze(0))
#> BatchError: wrong dtype: expected X of float32, as the model's weights are, got uint8; fix: images.float() / 255

# %% an infinite number
try:
    dlw.check_batch(linear, tensor_A / torch.tensor([0, 1]))
except dlw.BatchError as error:
    print("inf" in str(error).lower())
#> True

# %% a batch that fits
dlw.check_batch(linear, tensor_A)
