"""The least that each job can cost: bare loops over batches that already lie in a list."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import nn, optim

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def classify(model: nn.Module, train: Batches, test: Batches, optimizer: optim.Optimizer, epochs: int) -> list[float]:
    """Train and test with nothing but the arithmetic; return the mean loss over batches of each training pass."""
    loss_fn = nn.CrossEntropyLoss()
    losses = []
    for _ in range(epochs):
        model.train()
        total = 0
        for X, y in train:
            loss = loss_fn(model(X), y)
            total += loss.detach()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model, test)
        losses.append(float(total / len(train)))
    return losses


def evaluate(model: nn.Module, test: Batches) -> tuple[float, float]:
    """Score batches that lie in a list."""
    loss_fn = nn.CrossEntropyLoss()
    loss, right = 0, 0
    model.eval()
    with torch.inference_mode():
        for X, y in test:
            logits = model(X)
            loss += loss_fn(logits, y)
            right += (logits.argmax(dim=1) == y).sum()
    return float(loss), float(right)


def decode(paths: list[Path], size: int) -> list[Image.Image]:
    """Decode and resize on all cores, and nothing else."""

    def read(path: Path) -> Image.Image:
        return Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, paths))


def batches(X: torch.Tensor, y: torch.Tensor, *, shuffle: bool, size: int = 32) -> Batches:
    """Cut bytes into float batches."""
    order = torch.randperm(len(y)) if shuffle else torch.arange(len(y))
    return [(X[part].float().div_(255), y[part]) for part in order.split(size)]
