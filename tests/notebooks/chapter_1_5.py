# Chapter 1-5, FashionMNIST: torchvision's data, three models and the notes' functions, imported from dlworkflow.

# %% imports
import random
from timeit import default_timer as timer

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import ToTensor

import dlworkflow as dlw
from dlworkflow import FashionMNISTModelV0, FashionMNISTModelV1, FashionMNISTModelV2
from dlworkflow import accuracy_fn, eval_model, make_predictions, print_train_time, test_step, train_step

device = "cpu"

# %% data
train_data = datasets.FashionMNIST(root="data", train=True, download=True, transform=ToTensor())
test_data = datasets.FashionMNIST(root="data", train=False, download=True, transform=ToTensor())
class_names = train_data.classes
len(train_data.data), len(train_data.targets), len(test_data.data), len(test_data.targets)
#> (60000, 60000, 10000, 10000)

# %% one image [1 figure]
image, label = train_data[0]
plt.imshow(image.squeeze(), cmap="gray")
plt.title(class_names[label])
plt.axis(False);

# %% random images in a row [1 figure]
dlw.display_random_images(train_data, classes=class_names, n=5, seed=42)

# %% loaders
BATCH_SIZE = 32
train_dataloader = DataLoader(train_data, batch_size=BATCH_SIZE, shuffle=True)
test_dataloader = DataLoader(test_data, batch_size=BATCH_SIZE, shuffle=False)
print(len(train_dataloader), len(test_dataloader))
#> 1875 313

# %% the baseline, with our loaders of the same data
torch.manual_seed(42)
model_0 = FashionMNISTModelV0(input_shape=784, hidden_units=10, output_shape=len(class_names))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(params=model_0.parameters(), lr=0.1)
splits = dlw.data.load("fashion_mnist")
fast_train = dlw.make_loader(splits.train, batch_size=BATCH_SIZE, shuffle=True)
fast_test = dlw.make_loader(splits.test, batch_size=BATCH_SIZE)
torch.manual_seed(42)
start_time = timer()
results = dlw.train(model_0, fast_train, fast_test, optimizer, loss_fn, epochs=3, averaging="batch", verbose=False)
for epoch in range(3):
    loss, test_loss, test_acc = (results[name][epoch] for name in ("train_loss", "test_loss", "test_acc"))
    print(f"Train loss: {loss:.5f} | Test loss: {test_loss:.5f}, Test acc: {100 * test_acc:.2f}%")
#> Train loss: 0.59039 | Test loss: 0.50954, Test acc: 82.04%
#> Train loss: 0.47633 | Test loss: 0.47989, Test acc: 83.20%
#> Train loss: 0.45503 | Test loss: 0.47664, Test acc: 83.43%

# %% the time
seconds = print_train_time(start=start_time, end=timer(), device=str(next(model_0.parameters()).device))
#> Train time on cpu: ...

# %% the results of the baseline
eval_model(model=model_0, data_loader=test_dataloader, loss_fn=loss_fn, accuracy_fn=accuracy_fn)
#> {'model_name': 'FashionMNISTModelV0',
#>  'model_loss': 0.47663...
#>  'model_acc': 83.42651...

# %% the first epoch of the second model, by the functions of this chapter
torch.manual_seed(42)
model_1 = FashionMNISTModelV1(input_shape=784, hidden_units=10, output_shape=len(class_names)).to(device)
optimizer = torch.optim.SGD(params=model_1.parameters(), lr=0.1)
torch.manual_seed(42)
for epoch in range(1):
    print(f"Epoch: {epoch}\n---------")
    train_step(data_loader=fast_train,
        model=model_1,
        loss_fn=loss_fn,
        optimizer=optimizer,
        accuracy_fn=accuracy_fn,
        averaging="batch"
    )
    test_step(data_loader=fast_test,
        model=model_1,
        loss_fn=loss_fn,
        accuracy_fn=accuracy_fn,
        averaging="batch"
    )
#> Epoch: 0
#> ---------
#> Train loss: 1.09199 | Train accuracy: 61.34%
#> Test loss: 0.95636 | Test accuracy: 65.00%

# %% by position; means over samples, unless told otherwise
test_step(fast_test, model_1, loss_fn, accuracy_fn, device);
#> Test loss: 0.95680 | Test accuracy: 64.98%

# %% a metric of torchmetrics in the place of accuracy_fn
from torchmetrics import Accuracy

test_step(fast_test, model_1, loss_fn, Accuracy(task="multiclass", num_classes=10), device);
#> Test loss: 0.95680 | Test accuracy: 0.6498

# %% the convolutional model
torch.manual_seed(42)
model_2 = FashionMNISTModelV2(input_shape=1, hidden_units=10, output_shape=len(class_names)).to(device)
conv_layer = nn.Conv2d(in_channels=3, out_channels=10, kernel_size=3, stride=1, padding=0)
convolved = conv_layer(torch.randn(1, 3, 64, 64))
print(convolved.shape, nn.MaxPool2d(kernel_size=2)(convolved).shape, model_2.classifier[1].in_features)
#> torch.Size([1, 10, 62, 62]) torch.Size([1, 10, 31, 31]) 490

# %% it learns from a part of the data
part = dlw.make_loader(torch.utils.data.Subset(train_data, range(3200)), batch_size=32, shuffle=True)
optimizer = torch.optim.SGD(params=model_2.parameters(), lr=0.1)
results = dlw.train(model_2, part, fast_test, optimizer, loss_fn, epochs=2, verbose=False)
print(results["test_acc"][-1] > 0.5)
#> True

# %% predictions
random.seed(42)
test_samples, test_labels = zip(*random.sample(list(test_data), k=9))
print(test_samples[0].shape, test_labels[0], class_names[test_labels[0]])
pred_probs = make_predictions(model=model_2, data=test_samples)
print(pred_probs.shape, f"{pred_probs.sum(dim=1)[0]:.4f}")
#> torch.Size([1, 28, 28]) 5 Sandal
#> torch.Size([9, 10]) 1.0000

# %% nine predictions [1 figure]
dlw.plot_predicted_images(test_samples, [f"Pred: {class_names[i]}" for i in pred_probs.argmax(dim=1)])

# %% the confusion matrix, as mlxtend takes it [1 figure]
from torchmetrics import ConfusionMatrix

model_2.eval()
with torch.inference_mode():
    y_pred_tensor = torch.cat([model_2(X).argmax(dim=1) for X, _ in fast_test])
confmat = ConfusionMatrix(num_classes=len(class_names), task="multiclass")
confmat_tensor = confmat(preds=y_pred_tensor, target=test_data.targets)
fig, ax = dlw.plot_confusion_matrix(
    conf_mat=confmat_tensor.numpy(),
    class_names=class_names,
    figsize=(10, 7)
);

# %% a confusion matrix as ours takes it, in a figure of its own [1 figure]
dlw.plot_confusion_matrix(dlw.confusion_matrix(test_data.targets, y_pred_tensor, 10), class_names);

# %% the comparison as bars [1 figure]
rows = [eval_model(model, fast_test, loss_fn, accuracy_fn) for model in (model_0, model_1, model_2)]
names, accuracies = zip(*((row["model_name"], row["model_acc"]) for row in rows))
plt.barh(names, accuracies)
plt.xlabel("Accuracy (%)")
plt.show()
