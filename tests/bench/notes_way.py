"""The course's own way of doing each job, written afresh from its description: stock data sets and loaders, its loop.

Every function does one job and returns the figures that the course prints, so that they can be compared with ours.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

SEED = 42


def fashion_loaders(root: Path) -> tuple[DataLoader, DataLoader]:
    """Loaders of 32 over torchvision's data set, which converts one image after the other."""
    parts = [datasets.FashionMNIST(root, train=train, transform=transforms.ToTensor()) for train in (True, False)]
    return DataLoader(parts[0], 32, shuffle=True), DataLoader(parts[1], 32, shuffle=False)


def photo_loaders(root: Path, augment: bool) -> tuple[DataLoader, DataLoader]:
    """Loaders of 32 over two ImageFolders, which open each file anew in every epoch."""
    random = [transforms.TrivialAugmentWide(num_magnitude_bins=31)] if augment else []
    train = transforms.Compose([transforms.Resize((64, 64)), *random, transforms.ToTensor()])
    test = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    parts = datasets.ImageFolder(root / "train", train), datasets.ImageFolder(root / "test", test)
    return DataLoader(parts[0], 32, shuffle=True), DataLoader(parts[1], 32, shuffle=False)


def classify(
    model: nn.Module, train: DataLoader, test: DataLoader, optimizer: optim.Optimizer, epochs: int, limit: int = 0
) -> list[float]:
    """Train and test; return the mean loss over batches of each training pass. `limit` stops after so many batches."""
    loss_fn = nn.CrossEntropyLoss()
    torch.manual_seed(SEED)
    losses = []
    for _ in range(epochs):
        train_loss, train_acc = 0, 0
        model.train()
        for number, (X, y) in enumerate(train, start=1):
            y_pred = model(X)
            loss = loss_fn(y_pred, y)
            train_loss += loss.detach()
            train_acc += (y_pred.argmax(dim=1) == y).sum().item() / len(y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if number == limit:
                return [float(train_loss) / limit]
        evaluate(model, test)
        losses.append(float(train_loss / len(train)))
    return losses


def evaluate(model: nn.Module, test: DataLoader) -> tuple[float, float]:
    """Return loss and accuracy, means over batches."""
    loss_fn = nn.CrossEntropyLoss()
    loss, acc = 0, 0
    model.eval()
    with torch.inference_mode():
        for X, y in test:
            y_pred = model(X)
            loss += loss_fn(y_pred, y)
            acc += (y_pred.argmax(dim=1) == y).sum().item() / len(y) * 100
    return float(loss / len(test)), acc / len(test)


def fit_points(
    model: nn.Module, loss_fn: nn.Module, parts: list[torch.Tensor], lr: float, epochs: int, print_every: int
) -> list[float]:
    """Train on all points at once, as for the line, the circles and the blobs; look at the losses now and then."""
    X, y, X_test, y_test = parts
    optimizer = optim.SGD(model.parameters(), lr=lr)
    torch.manual_seed(SEED)
    losses = []
    for epoch in range(epochs):
        model.train()
        logits = _aligned(model(X), y)
        loss = loss_fn(logits, y)
        _accuracy(logits, y, loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            logits = _aligned(model(X_test), y_test)
            test_loss = loss_fn(logits, y_test)
            _accuracy(logits, y_test, loss_fn)
        if epoch % print_every == 0:
            losses.append((loss.item(), test_loss.item())[0])
    return losses


def _aligned(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return logits.reshape(y.shape) if y.is_floating_point() else logits


def _accuracy(logits: torch.Tensor, y: torch.Tensor, loss_fn: nn.Module) -> float | None:
    """Return percent, as the course does in every epoch of a classification."""
    if isinstance(loss_fn, nn.L1Loss):
        return None
    labels = torch.round(torch.sigmoid(logits)) if y.is_floating_point() else logits.argmax(dim=1)
    return torch.eq(y, labels).sum().item() / len(labels) * 100


def predict_one_by_one(model: nn.Module, paths: list[Path]) -> list[int]:
    """Open, resize and score one photo after the other."""
    from PIL import Image

    way = transforms.Compose([transforms.Resize((64, 64)), transforms.ToTensor()])
    labels = []
    model.eval()
    with torch.inference_mode():
        for path in paths:
            image = way(Image.open(path).convert("RGB")).unsqueeze(0)
            labels.append(int(torch.softmax(model(image), dim=1).argmax(dim=1)))
    return labels
