# Chapter 1-4, classification: circles, a straight line again and blobs, with the helpers imported from dlworkflow.

# %% imports
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import make_blobs, make_circles
from sklearn.model_selection import train_test_split
from torch import nn

import dlworkflow as dlw
from dlworkflow import BlobModel, CircleModelV0, CircleModelV1, CircleModelV2
from dlworkflow import accuracy_fn, plot_decision_boundary, plot_predictions

device = "cpu"

# %% circles [1 figure]
X, y = make_circles(1000, noise=0.03, random_state=42)
plt.scatter(x=X[:, 0], y=X[:, 1], c=y, cmap=plt.cm.RdYlBu);

# %% tensors and splits
X = torch.from_numpy(X).type(torch.float)
y = torch.from_numpy(y).type(torch.float)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)
len(X_train), len(X_test), len(y_train), len(y_test)
#> (800, 200, 800, 200)

# %% the untrained model and the shape of its outputs
torch.manual_seed(42)
model_0 = CircleModelV0().to(device)
untrained_preds = model_0(X_test.to(device))
print(untrained_preds.shape, y_test.shape)
#> torch.Size([200, 1]) torch.Size([200])

# %% labels (n,) against outputs (n, 1)
loss_fn = nn.BCEWithLogitsLoss()
try:
    dlw.check_batch(model_0, X_test, y_test, loss_fn)
except dlw.BatchError as error:
    print("(200, 1)" in str(error), "(200,)" in str(error), "squeeze" in str(error))
#> True True True

# %% accuracy in percent
y_preds = torch.round(torch.sigmoid(untrained_preds)).squeeze()
print(type(accuracy_fn(y_true=y_test, y_pred=y_preds)).__name__, accuracy_fn(y_test, y_test))
#> float 100.0

# %% a loop for the three models
def fit(model, epochs, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(42)
    for epoch in range(epochs):
        model.train()
        y_logits = model(X_train).squeeze()
        y_pred = torch.round(torch.sigmoid(y_logits))
        loss = loss_fn(y_logits, y_train)
        acc = accuracy_fn(y_true=y_train, y_pred=y_pred)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            test_logits = model(X_test).squeeze()
            test_loss = loss_fn(test_logits, y_test)
            test_acc = accuracy_fn(y_true=y_test, y_pred=torch.round(torch.sigmoid(test_logits)))
        if epoch in rows:
            print(f"Epoch: {epoch} | {loss:.5f} {acc:.2f}% | {test_loss:.5f} {test_acc:.2f}%")

# %% the boundary of the model with straight lines [1 figure]
fit(model_0, 100, ())
plt.figure(figsize=(12, 6))
plt.subplot(1, 2, 1)
plt.title("Train")
plot_decision_boundary(model_0, X_train, y_train)
plt.subplot(1, 2, 2)
plt.title("Test")
plot_decision_boundary(model_0, X_test, y_test)

# %% the titles are those of the reader [1 figure]
figure = plt.figure(figsize=(12, 6))
plt.subplot(1, 2, 1)
plot_decision_boundary(model_0, X_train, y_train)
plt.title("Train")
plt.subplot(1, 2, 2)
plt.title("Test")
plot_decision_boundary(model_0, X_test, y_test);
print([axes.get_title() for axes in figure.axes if axes.get_title()])
#> ['Train', 'Test']

# %% the second model
torch.manual_seed(42)
model_1 = CircleModelV1().to(device)
fit(model_1, 1000, (0, 100, 200, 900))
#> Epoch: 0 | 0.69396 50.88% | 0.69261 51.00%
#> Epoch: 100 | 0.69305 50.38% | 0.69379 48.00%
#> Epoch: 200 | 0.69299 51.12% | 0.69437 46.00%
#> Epoch: 900 | 0.69298 51.00% | 0.69468 46.00%

# %% a straight line with the same layers [1 figure]
X_regression = torch.arange(0, 1, 0.01).unsqueeze(dim=1)
y_regression = 0.7 * X_regression + 0.3
split = int(0.8 * len(X_regression))
plot_predictions(train_data=X_regression[:split],
    train_labels=y_regression[:split],
    test_data=X_regression[split:],
    test_labels=y_regression[split:]
)

# %% the third model
torch.manual_seed(42)
model_3 = CircleModelV2().to(device)
fit(model_3, 1000, (0, 100, 500, 800, 900))
#> Epoch: 0 | 0.69295 50.00% | 0.69319 50.00%
#> Epoch: 100 | 0.69115 52.88% | 0.69102 52.50%
#> Epoch: 500 | 0.68102 52.75% | 0.67941 56.50%
#> Epoch: 800 | 0.65160 64.00% | 0.64757 67.50%
#> Epoch: 900 | 0.62362 74.00% | 0.62145 79.00%

# %% both models side by side [1 figure]
plt.figure(figsize=(12, 6))
for place, (name, model) in enumerate({"straight": model_1, "bent": model_3}.items(), start=1):
    plt.subplot(1, 2, place)
    plt.title(name)
    plot_decision_boundary(model, X_test, y_test)
plt.show()

# %% a boundary with no figure open, in the colours of the notes [1 figure]
plot_decision_boundary(model_3, X_test, y_test, palette="notes")

# %% activations by hand [2 figures]
A = torch.arange(-10, 10, 1, dtype=torch.float32)
plt.plot(torch.maximum(torch.tensor(0), A))
plt.show()
plt.plot(1 / (1 + torch.exp(-A)));

# %% blobs [1 figure]
X_blob, y_blob = make_blobs(n_samples=1000, n_features=2, centers=4, cluster_std=1.5, random_state=42)
X_blob = torch.from_numpy(X_blob).type(torch.float)
y_blob = torch.from_numpy(y_blob).type(torch.LongTensor)
X_blob_train, X_blob_test, y_blob_train, y_blob_test = train_test_split(X_blob, y_blob, test_size=0.2, random_state=42)
plt.figure(figsize=(10, 7))
plt.scatter(X_blob[:, 0], X_blob[:, 1], c=y_blob, cmap=plt.cm.RdYlBu);

# %% the blob model with our loop
torch.manual_seed(42)
model_4 = BlobModel(input_features=2, output_features=4, hidden_units=8).to(device)
optimizer = torch.optim.SGD(model_4.parameters(), lr=0.1)
train_loader = dlw.make_loader(dlw.TensorData(X_blob_train, y_blob_train), batch_size=800)
test_loader = dlw.make_loader(dlw.TensorData(X_blob_test, y_blob_test), batch_size=200)
torch.manual_seed(42)
results = dlw.train(model_4, train_loader, test_loader, optimizer, nn.CrossEntropyLoss(), epochs=100, verbose=False)
for epoch in (0, 10, 50, 90):
    print(epoch, *(f"{results[name][epoch]:.5f}" for name in ("train_loss", "train_acc", "test_loss", "test_acc")))
#> 0 1.04324 0.65500 0.57861 0.95500
#> 10 0.14398 0.99125 0.13037 0.99000
#> 50 0.04295 0.99000 0.03486 0.99500
#> 90 0.03300 0.99125 0.02423 0.99500

# %% the boundary of four classes [1 figure]
plt.figure(figsize=(12, 6))
plt.subplot(1, 2, 1)
plt.title("Train")
plot_decision_boundary(model_4, X_blob_train, y_blob_train)
plt.subplot(1, 2, 2)
plt.title("Test")
plot_decision_boundary(model_4, X_blob_test, y_blob_test)

# %% torchmetrics and the report
from torchmetrics import Accuracy

model_4.eval()
with torch.inference_mode():
    y_preds = model_4(X_blob_test).argmax(dim=1)
print(Accuracy(task="multiclass", num_classes=4)(y_preds, y_blob_test))
print(f"{dlw.eval_model(model_4, test_loader, nn.CrossEntropyLoss(), accuracy_fn)['model_acc']}")
#> tensor(0.9950)
#> 99.5

# %% a whole run with plain settings
run = dlw.run_training({"model": "blobs", "data": "blobs", "epochs": 20}, lr=0.1, verbose=False)
print(f"{run.history()[10]['test_loss']:.5f}", run.summary().status)
#> 0.13037 finished

# %% its table [1 table]
run
#> Run(...

# %% the comparison [1 table]
dlw.compare_runs(dlw.list_runs())
#> run blobs-blobs-001...

# %% its report [1 table]
dlw.report_run(run)
#> EvaluationReport(...

# %% the report in the shell
import sys
!{sys.executable} -m dlworkflow evaluate last
!{sys.executable} -m dlworkflow compare 2>/dev/null
#> ...
#> accuracy             99.50 %   97.22 % to 99.91 %
#> ...
#> run              model  data...
#> ---------------  -----  -----...
#> blobs-blobs-001  blobs  blobs...
#> ...

# %% loss curves [1 figure]
dlw.plot_loss_curves(results)

# %% a figure in a loop [2 figures]
for epochs in (20, 100):
    dlw.plot_loss_curves({name: values[:epochs] for name, values in results.items()})
    plt.show()
