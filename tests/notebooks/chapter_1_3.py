# Chapter 1-3, the workflow on a straight line, as a reader types it who has imported the helpers from dlworkflow.

# %% imports
import torch
from torch import nn
import matplotlib.pyplot as plt

import dlworkflow as dlw
from dlworkflow import LinearRegressionModel, LinearRegressionModelV2, plot_predictions

# %% data
weight, bias = 0.7, 0.3
X = torch.arange(0, 1, 0.02).unsqueeze(dim=1)
y = weight * X + bias
train_split = int(0.8 * len(X))
X_train, y_train = X[:train_split], y[:train_split]
X_test, y_test = X[train_split:], y[train_split:]
len(X_train), len(y_train), len(X_test), len(y_test)
#> (40, 40, 10, 10)

# %% look at the data [1 figure]
plot_predictions(X_train, y_train, X_test, y_test)

# %% the untrained model
torch.manual_seed(42)
model_0 = LinearRegressionModel()
model_0.state_dict()
#> OrderedDict([('weights', tensor([0.3367])), ('bias', tensor([0.1288]))])

# %% its predictions
with torch.inference_mode():
    y_preds = model_0(X_test)
print(f"Predicted values:\n{y_preds[[0, 1, 9]]}")
#> Predicted values:
#> tensor([[0.3982],
#>         [0.4049],
#>         [0.4588]])

# %% look at the predictions, by keyword and with a semicolon [1 figure]
plot_predictions(train_data=X_train, train_labels=y_train, test_data=X_test, test_labels=y_test, predictions=y_preds);

# %% the call that relies on variables of the notebook is explained
plot_predictions(predictions=y_preds)
#> DlwError: plot_predictions needs train_data, train_labels, test_data, test_labels: ...

# %% training
loss_fn = nn.L1Loss()
optimizer = torch.optim.SGD(params=model_0.parameters(), lr=0.01)
torch.manual_seed(42)
epoch_count, train_loss_values, test_loss_values = [], [], []
for epoch in range(100):
    model_0.train()
    loss = loss_fn(model_0(X_train), y_train)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model_0.eval()
    with torch.inference_mode():
        test_loss = loss_fn(model_0(X_test), y_test)
    if epoch % 10 == 0:
        epoch_count.append(epoch)
        train_loss_values.append(loss.item())
        test_loss_values.append(test_loss.item())
        print(f"Epoch: {epoch} | train {loss:.5f} | test {test_loss:.5f}")
#> Epoch: 0 | train 0.31288 | test 0.48107
#> Epoch: 10 | train 0.19767 | test 0.34636
#> Epoch: 20 | train 0.08909 | test 0.21730
#> Epoch: 30 | train 0.05315 | test 0.14464
#> Epoch: 40 | train 0.04544 | test 0.11361
#> Epoch: 50 | train 0.04168 | test 0.09920
#> Epoch: 60 | train 0.03819 | test 0.08887
#> Epoch: 70 | train 0.03476 | test 0.08059
#> Epoch: 80 | train 0.03132 | test 0.07232
#> Epoch: 90 | train 0.02789 | test 0.06474

# %% the learned numbers
with torch.inference_mode():
    y_preds = model_0(X_test)
print(dict(model_0.state_dict()))
print([f"{value:.4f}" for value in y_preds[:, 0].tolist()])
#> {'weights': tensor([0.5784]), 'bias': tensor([0.3513])}
#> ['0.8141', '0.8256', '0.8372', '0.8488', '0.8603', '0.8719', '0.8835', '0.8950', '0.9066', '0.9182']

# %% the figure is not the last line, and is saved [1 figure]
plot_predictions(X_train, y_train, X_test, y_test, y_preds)
plt.title("After training")
plt.savefig("after.png")
print(plt.imread("after.png").std() > 0.05)
#> True

# %% loss curves by hand, after one of ours [2 figures]
plot_predictions(X_train, y_train, X_test, y_test, y_preds)
plt.show()
plt.plot(epoch_count, train_loss_values, label="train")
plt.plot(epoch_count, test_loss_values, label="test")
plt.legend();

# %% a figure that is kept is shown when it is asked for [1 figure]
figure = plot_predictions(X_train, y_train, X_test, y_test, y_preds)
plt.close()
figure

# %% saving
dlw.save_model(model_0, target_dir="models", model_name="01_model_0.pth")
loaded_model_0 = LinearRegressionModel()
loaded_model_0.load_state_dict(torch.load("models/01_model_0.pth", weights_only=True))
#> [INFO] Saving model to: models/01_model_0.pth
#> <All keys matched successfully>

# %% the loaded model predicts the same
with torch.inference_mode():
    print((loaded_model_0(X_test) == y_preds).all())
#> tensor(True)

# %% the second model, with our loop
torch.manual_seed(42)
model_1 = LinearRegressionModelV2()
print(dict(model_1.state_dict()))
optimizer = torch.optim.SGD(model_1.parameters(), lr=0.01)
train_loader = dlw.make_loader(dlw.TensorData(X_train, y_train), batch_size=40)
test_loader = dlw.make_loader(dlw.TensorData(X_test, y_test), batch_size=10)
torch.manual_seed(42)
results = dlw.train(model_1, train_loader, test_loader, optimizer, loss_fn, epochs=1000, verbose=False)
for epoch in (0, 900):
    print(f"{epoch}: {results['train_loss'][epoch]:.5f} {results['test_loss'][epoch]:.5f}")
#> {'linear_layer.weight': tensor([[0.7645]]), 'linear_layer.bias': tensor([0.8300])}
#> 0: 0.55518 0.57398
#> 900: 0.00126 0.01380

# %% its predictions in the end
with torch.inference_mode():
    print([f"{value:.4f}" for value in model_1(X_test)[[0, 1, 9], 0].tolist()])
#> ['0.8600', '0.8739', '0.9854']

# %% from the shell, as notebooks call it
import sys
!{sys.executable} -m dlworkflow train line --epochs 3
!{sys.executable} -m dlworkflow predict 0.8 --run line
#> ...
#> epoch 1/3  train loss 0.31288  test loss 0.48107...
#> ...
#> input    value
#> -----  -------
#>   0.8  0.43752

# %% loss curves of a regression [1 figure]
dlw.plot_loss_curves(results)
