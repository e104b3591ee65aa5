"""Worked examples as people read them: gradient descent, a forward pass and a convolution, number by number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean as mean
from typing import TYPE_CHECKING, Any

from dlworkflow.cli.tables import render
from dlworkflow.files.numbers import short

if TYPE_CHECKING:
    from dlworkflow.course.convolution import ConvTrace, PoolTrace
    from dlworkflow.course.descent import DescentStep
    from dlworkflow.course.trace import LayerStep, ModelTrace, ParameterStep, SampleLoss, WorkedSum
    from dlworkflow.models.weights.contents import Contents

MOST_SHOWN = 10
"""Terms of a sum that are printed before an ellipsis for the rest."""
MOST_LISTED = 20
"""Numbers of a tensor up to which each is printed."""


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


def model_lines(traced: ModelTrace, classes: Sequence[str], task: str) -> Iterable[str]:
    """Yield each sample: the outputs of the layers, probabilities, answer and loss; then the gradients and a step."""
    for i, sample in enumerate(traced.samples):
        truth = repr(classes[int(sample.truth)]) if classes else short(sample.truth)
        shape = f"{_times(sample.inputs.shape)} numbers, " if sample.inputs.count > MOST_LISTED else ""
        yield f"sample {i + 1}: x = {shape}{_contents(sample.inputs)}; truth {truth}"
        for layer in traced.layers:
            yield from _layer_lines(layer, i)
        yield from _loss_lines(sample, classes, task) if classes else _error_lines(sample)
        yield ""
    losses = _some([short(sample.loss) for sample in traced.samples])
    yield f"loss = ({' + '.join(losses)}) / {len(traced.samples)} = {short(traced.loss)}"
    if traced.parameters:
        yield ""
        yield f"one step of SGD at learning rate {traced.lr:g}: new = old - {traced.lr:g} * gradient of the loss"
    for parameter in traced.parameters:
        yield from _step_lines(parameter, traced.lr)
    if traced.parameters:
        yield f"loss after the step: {short(traced.loss_after)}"


def _layer_lines(layer: LayerStep, i: int) -> Iterable[str]:
    output = _contents(layer.outputs[i]) if layer.outputs else "not one output a sample"
    yield f"  {layer.name} ({layer.kind}, {_times(layer.shape[1:])}): {output}"
    if i == 0 and layer.worked is not None:
        yield f"    its first number: {_sum_text(layer.worked)}"


def _step_lines(parameter: ParameterStep, lr: float) -> Iterable[str]:
    yield f"  {parameter.name} ({_times(parameter.old.shape)})"
    for name in ("old", "gradient", "new"):
        yield f"    {name:<8}  {_contents(getattr(parameter, name))}"
    three = [each.values for each in (parameter.old, parameter.gradient, parameter.new)]
    if None not in three:
        old, gradient, new = (next(iter(_flatten(values))) for values in three)
        yield f"    its first number: {short(old)} - {lr:g} * {_signed(gradient)} = {short(new)}"


def _error_lines(sample: SampleLoss) -> Iterable[str]:
    yield f"  answer {short(sample.answer)} for {short(sample.truth)}; loss {short(sample.loss)}"


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
    is_log = math.isclose(sample.loss, -math.log(chance) if chance else math.inf, rel_tol=1e-3, abs_tol=1e-4)
    loss = f"-ln({short(chance)}) = {short(sample.loss)}" if is_log else short(sample.loss)
    yield f"  answer {classes[int(sample.answer)]!r}, {right}; loss {loss}"


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
    name, worked = ("largest", max) if traced.pooling == "max" else ("mean", mean)
    yield f"the pooling's first number: the {name} of {shown} = {short(worked(traced.pooled))}"


def pool_lines(traced: PoolTrace) -> Iterable[str]:
    """Yield the image, the output of each pooling, and each of its windows with both."""
    yield from _grid_lines("image", traced.image)
    yield ""
    for name, made in (("max", traced.max), ("average", traced.average)):
        yield from _grid_lines(f"{name} pooling {traced.size}x{traced.size}, stride {traced.stride}", made)
        yield ""
    for window in traced.windows[:MOST_SHOWN]:
        numbers = _some([short(value) for value in window.numbers])
        total = " + ".join(_some([_signed(value) for value in window.numbers]))
        yield f"window at row {window.row}, column {window.column}: {', '.join(numbers)}"
        yield f"  largest {short(window.max)}; mean ({total}) / {len(window.numbers)} = {short(window.average)}"
    if len(traced.windows) > MOST_SHOWN:
        yield f"... and {len(traced.windows) - MOST_SHOWN} more windows"


def _grid_lines(label: str, rows: Sequence[Sequence[float]]) -> Iterable[str]:
    """Yield a label with the shape of an image, and its rows in columns of one width."""
    yield f"{label}: {_times((len(rows), len(rows[0])))}"
    cells = [_some([short(value) for value in row]) for row in rows]
    width = max(len(cell) for line in cells for cell in line)
    lines = ["  " + "  ".join(cell.rjust(width) for cell in line) for line in cells]
    yield from _some(lines) if len(lines) > MOST_SHOWN else lines


def _sum_text(worked: WorkedSum, *, most: int = MOST_SHOWN) -> str:
    terms = _some([f"{_signed(weight)} * {_signed(value)}" for weight, value in worked.terms], most)
    return f"{' + '.join(terms)} + bias {_signed(worked.bias)} = {short(worked.total)}"


def _signed(value: float) -> str:
    return short(value) if value >= 0 else f"({short(value)})"


def _given_number(value: float) -> str:
    return f"{value:g}" if value >= 0 else f"({value:g})"


def _plus(value: float) -> str:
    return f"- {short(-value)}" if value < 0 else f"+ {short(value)}"


def _contents(found: Contents) -> str:
    """Return all numbers of a tensor where they are few, else their mean and range."""
    if found.values is not None and found.count <= MOST_LISTED:
        return f"[{', '.join(map(_number, _flatten(found.values)))}]"
    return f"mean {_number(found.mean)}, from {_number(found.min)} to {_number(found.max)}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else short(value)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _flatten(values: Any) -> Iterable[Any]:
    for value in values if isinstance(values, list) else ():
        yield from _flatten(value)
    if not isinstance(values, list):
        yield values


def _some(parts: list[str], most: int = MOST_SHOWN) -> list[str]:
    return parts if len(parts) <= most else [*parts[: most - 1], f"... {len(parts) - most} more ...", parts[-1]]
