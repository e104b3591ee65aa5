"""Worked examples as people read them: gradient descent, a forward pass and a convolution, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.tables import render, short

if TYPE_CHECKING:
    from dlworkflow.course.convolution import ConvTrace
    from dlworkflow.course.descent import DescentStep
    from dlworkflow.course.trace import ClassifierTrace, LayerStep, SampleLoss, WorkedSum

MOST_SHOWN = 10
"""Numbers shown of a layer, and terms of a sum, before an ellipsis stands for the rest."""


def descent_lines(x: Sequence[float], y: Sequence[float], taken: Sequence[DescentStep], lr: float) -> Iterable[str]:
    """Yield each step: forward pass, loss, gradients, update; then a table of all steps."""
    points = ", ".join(f"({xi:g}, {yi:g})" for xi, yi in zip(x, y, strict=True))
    yield f"prediction = w * x + b on {points}; loss = mean of (prediction - y)^2; learning rate {lr:g}"
    for step in taken:
        n = len(x)
        yield ""
        yield f"step {step.step}: w = {short(step.w)}, b = {short(step.b)}"
        for xi, yi, p, e in zip(x, y, step.predictions, step.errors, strict=True):
            forward = f"{short(step.w)} * {_given_number(xi)} {_plus(step.b)} = {short(p)}"
            yield f"  forward   {forward}   error {short(p)} - {_given_number(yi)} = {short(e)}"
        squares = _some([f"{_signed(e)}^2" for e in step.errors])
        yield f"  loss      ({' + '.join(squares)}) / {n} = {short(step.loss)}"
        products = _some([f"{_signed(e)} * {_given_number(xi)}" for e, xi in zip(step.errors, x, strict=True)])
        yield f"  dloss/dw  2/{n} * ({' + '.join(products)}) = {short(step.grad_w)}"
        yield f"  dloss/db  2/{n} * ({' + '.join(_some([_signed(e) for e in step.errors]))}) = {short(step.grad_b)}"
        yield f"  update    w = {short(step.w)} - {lr:g} * {_signed(step.grad_w)} = {short(step.new_w)}"
        yield f"            b = {short(step.b)} - {lr:g} * {_signed(step.grad_b)} = {short(step.new_b)}"
    yield ""
    rows = [{"step": s.step, "w": short(s.w), "b": short(s.b), "loss": short(s.loss)} for s in taken]
    rows.append({"step": "end", "w": short(taken[-1].new_w), "b": short(taken[-1].new_b), "loss": ""})
    yield from render(rows, {key: key for key in rows[0]}).split("\n")


def classifier_lines(traced: ClassifierTrace, classes: Sequence[str], task: str) -> Iterable[str]:
    """Yield each sample: the outputs of the layers, probabilities, answer and loss."""
    for i, sample in enumerate(traced.samples):
        yield f"sample {i + 1}: x = {_vector(sample.inputs)}, truth {classes[int(sample.truth)]!r}"
        for layer in traced.layers:
            yield from _layer_lines(layer, i)
        yield from _loss_lines(sample, classes, task)
        yield ""
    losses = _some([short(sample.loss) for sample in traced.samples])
    yield f"loss = ({' + '.join(losses)}) / {len(traced.samples)} = {short(traced.loss)}"


def _layer_lines(layer: LayerStep, i: int) -> Iterable[str]:
    shape = "x".join(map(str, layer.shape[1:]))
    yield f"  {layer.name} ({layer.kind}, {shape}): {_vector(layer.outputs[i])}"
    if i == 0 and layer.worked is not None:
        yield f"    its first number: {_sum_text(layer.worked)}"


def _loss_lines(sample: SampleLoss, classes: Sequence[str], task: str) -> Iterable[str]:
    if task == "binary":
        logit, p = sample.logits[0], sample.probabilities[1]
        yield f"  sigmoid: 1 / (1 + e^{_signed(-logit)}) = {short(p)}, the probability of {classes[1]!r}"
    else:
        powers = " + ".join(_some([f"e^{_signed(logit)}" for logit in sample.logits]))
        yield f"  softmax: each e^logit / ({powers})"
        for name, logit, p in zip(classes, sample.logits, sample.probabilities, strict=True):
            yield f"    {name!r}: e^{_signed(logit)} / {short(_sum_of_powers(sample))} = {short(p)}"
    chance = sample.probabilities[int(sample.truth)]
    right = "right" if sample.answer == sample.truth else "wrong"
    yield f"  answer {classes[int(sample.answer)]!r}, {right}; loss -ln({short(chance)}) = {short(sample.loss)}"


def _sum_of_powers(sample: SampleLoss) -> float:
    try:
        return math.fsum(math.exp(logit) for logit in sample.logits)
    except OverflowError:
        return math.inf


def conv_lines(traced: ConvTrace) -> Iterable[str]:
    """Yield the shape after each step, the parameters, and the first number worked out."""
    rows = [{"step": step.label, "shape": f"({', '.join(map(str, step.shape))})"} for step in traced.steps]
    yield from render(rows, {key: key for key in rows[0]}).split("\n")
    yield ""
    yield f"{traced.weights:,} weights and {traced.biases:,} biases"
    yield f"the convolution's first number: {_sum_text(traced.pixel, most=3 * MOST_SHOWN)}"
    shown = ", ".join(_some([short(value) for value in traced.pooled]))
    yield f"the pooling's first number: the largest of {shown} = {short(max(traced.pooled))}"


def _sum_text(worked: WorkedSum, *, most: int = MOST_SHOWN) -> str:
    terms = _some([f"{_signed(weight)} * {_signed(value)}" for weight, value in worked.terms], most)
    return f"{' + '.join(terms)} + bias {_signed(worked.bias)} = {short(worked.total)}"


def _signed(value: float) -> str:
    return short(value) if value >= 0 else f"({short(value)})"


def _given_number(value: float) -> str:
    return f"{value:g}" if value >= 0 else f"({value:g})"


def _plus(value: float) -> str:
    return f"- {short(-value)}" if value < 0 else f"+ {short(value)}"


def _vector(values: Any) -> str:
    flat = [values] if isinstance(values, (int, float)) else [*_flatten(values)]
    return f"[{', '.join(_some([short(value) for value in flat]))}]"


def _flatten(values: Any) -> Iterable[float]:
    for value in values:
        if isinstance(value, list):
            yield from _flatten(value)
        else:
            yield value


def _some(parts: list[str], most: int = MOST_SHOWN) -> list[str]:
    return parts if len(parts) <= most else [*parts[: most - 1], f"... {len(parts) - most} more ...", parts[-1]]
