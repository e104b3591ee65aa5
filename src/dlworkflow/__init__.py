"""dlworkflow: data, models, training, evaluation, prediction and comparison with PyTorch, as a library and as `dlw`.

Every public name is resolved on first use, so that `import dlworkflow` costs nothing:

    import dlworkflow as dlw

    splits = dlw.data.load("circles")
    model = dlw.CircleModelV2()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlworkflow._version import __version__
from dlworkflow.registry import lazy_names

if TYPE_CHECKING:
    from dlworkflow import data as data
    from dlworkflow import engine as engine
    from dlworkflow import models as models
    from dlworkflow import plotting as plotting
    from dlworkflow import runs as runs
    from dlworkflow import training as training
    from dlworkflow.analysis.cross_validation import CrossValidation as CrossValidation
    from dlworkflow.analysis.cross_validation import cross_validate as cross_validate
    from dlworkflow.analysis.diagnosis import diagnose as diagnose
    from dlworkflow.analysis.diagnosis.of_run import RunDiagnosis as RunDiagnosis
    from dlworkflow.analysis.diagnosis.of_run import diagnose_run as diagnose_run
    from dlworkflow.analysis.differences import Differences as Differences
    from dlworkflow.analysis.differences import compare_answers as compare_answers
    from dlworkflow.analysis.differences import compare_over_seeds as compare_over_seeds
    from dlworkflow.analysis.evaluation import evaluate_run as evaluate_run
    from dlworkflow.analysis.evaluation import report_run as report_run
    from dlworkflow.analysis.explanation.explaining import explain as explain
    from dlworkflow.analysis.explanation.importance import Importance as Importance
    from dlworkflow.analysis.explanation.results import ImageExplanation as ImageExplanation
    from dlworkflow.analysis.explanation.results import RowExplanation as RowExplanation
    from dlworkflow.analysis.export import ExportedModel as ExportedModel
    from dlworkflow.analysis.export import export_run as export_run
    from dlworkflow.analysis.label_errors import LabelErrors as LabelErrors
    from dlworkflow.analysis.label_errors import find_label_errors as find_label_errors
    from dlworkflow.analysis.nearest import neighbours as neighbours
    from dlworkflow.analysis.report import write_report as write_report
    from dlworkflow.analysis.robustness import robustness_of_run as robustness_of_run
    from dlworkflow.analysis.slices.of_run import slices_of_run as slices_of_run
    from dlworkflow.config import TrainConfig as TrainConfig
    from dlworkflow.course.figures import display_random_images as display_random_images
    from dlworkflow.course.figures import plot_accuracy_bars as plot_accuracy_bars
    from dlworkflow.course.figures import plot_confusion_matrix as plot_confusion_matrix
    from dlworkflow.course.figures import plot_decision_boundary as plot_decision_boundary
    from dlworkflow.course.figures import plot_decision_regions as plot_decision_regions
    from dlworkflow.course.figures import plot_loss_curves as plot_loss_curves
    from dlworkflow.course.figures import plot_predicted_images as plot_predicted_images
    from dlworkflow.course.figures import plot_predictions as plot_predictions
    from dlworkflow.course.figures import plot_run_curves as plot_run_curves
    from dlworkflow.course.figures import plot_transformed_images as plot_transformed_images
    from dlworkflow.course.helpers import create_writer as create_writer
    from dlworkflow.course.helpers import download_data as download_data
    from dlworkflow.course.helpers import make_predictions as make_predictions
    from dlworkflow.course.helpers import print_train_time as print_train_time
    from dlworkflow.course.helpers import save_model as save_model
    from dlworkflow.course.helpers import walk_through_dir as walk_through_dir
    from dlworkflow.course.predicted_image import pred_and_plot_image as pred_and_plot_image
    from dlworkflow.course.training import eval_model as eval_model
    from dlworkflow.course.training import fit as fit
    from dlworkflow.course.training import resume_training as resume_training
    from dlworkflow.course.training import run_training as run_training
    from dlworkflow.course.training import test_step as test_step
    from dlworkflow.course.training import train as train
    from dlworkflow.course.training import train_step as train_step
    from dlworkflow.data.check.folder import check_folder as check_folder
    from dlworkflow.data.check.report import FolderReport as FolderReport
    from dlworkflow.data.datasets.image_folder import ImageFolderCustom as ImageFolderCustom
    from dlworkflow.data.datasets.image_folder import find_classes as find_classes
    from dlworkflow.data.datasets.tabular import TensorData as TensorData
    from dlworkflow.data.images.dataset import ImageData as ImageData
    from dlworkflow.data.images.dataset import load_image as load_image
    from dlworkflow.data.loaders import create_dataloaders as create_dataloaders
    from dlworkflow.data.loaders import make_loader as make_loader
    from dlworkflow.data.splits import Splits as Splits
    from dlworkflow.engine.batch_check import check_batch as check_batch
    from dlworkflow.engine.device import choose_device as choose_device
    from dlworkflow.engine.loop import Epoch as Epoch
    from dlworkflow.engine.loop import Evaluation as Evaluation
    from dlworkflow.engine.loop import evaluate as evaluate
    from dlworkflow.engine.random_state import set_seeds as set_seeds
    from dlworkflow.engine.scores import Scores as Scores
    from dlworkflow.errors import BatchError as BatchError
    from dlworkflow.errors import ConfigError as ConfigError
    from dlworkflow.errors import DataError as DataError
    from dlworkflow.errors import DlwError as DlwError
    from dlworkflow.errors import ModelError as ModelError
    from dlworkflow.errors import RunError as RunError
    from dlworkflow.inference.onnx_predictor import OnnxPredictor as OnnxPredictor
    from dlworkflow.inference.predictor import Prediction as Prediction
    from dlworkflow.inference.predictor import Predictor as Predictor
    from dlworkflow.inference.predictor import predict_images as predict_images
    from dlworkflow.metrics.functions import accuracy_fn as accuracy_fn
    from dlworkflow.metrics.functions import confusion_matrix as confusion_matrix
    from dlworkflow.metrics.per_class import classification_report as classification_report
    from dlworkflow.models.blobs import BlobModel as BlobModel
    from dlworkflow.models.circles import CircleModelV0 as CircleModelV0
    from dlworkflow.models.circles import CircleModelV1 as CircleModelV1
    from dlworkflow.models.circles import CircleModelV2 as CircleModelV2
    from dlworkflow.models.fashion_mnist import FashionMNISTModelV0 as FashionMNISTModelV0
    from dlworkflow.models.fashion_mnist import FashionMNISTModelV1 as FashionMNISTModelV1
    from dlworkflow.models.fashion_mnist import FashionMNISTModelV2 as FashionMNISTModelV2
    from dlworkflow.models.linear import LinearRegressionModel as LinearRegressionModel
    from dlworkflow.models.linear import LinearRegressionModelV2 as LinearRegressionModelV2
    from dlworkflow.models.linear import LineModel as LineModel
    from dlworkflow.models.tiny_vgg import ImprovedTinyVGG as ImprovedTinyVGG
    from dlworkflow.models.tiny_vgg import TinyVGG as TinyVGG
    from dlworkflow.models.weights.checkpoint import load_weights as load_weights
    from dlworkflow.models.weights.from_weights import load_model as load_model
    from dlworkflow.registry.user_code import use_code as use_code
    from dlworkflow.runs import Run as Run
    from dlworkflow.runs import find_run as find_run
    from dlworkflow.runs import list_runs as list_runs
    from dlworkflow.runs.comparison import compare_runs as compare_runs
    from dlworkflow.runs.comparison import compare_seeds as compare_seeds
    from dlworkflow.training.settings import resolve_config as resolve_config
    from dlworkflow.training.trackers import Tracked as Tracked
    from dlworkflow.training.trackers import Tracker as Tracker
    from dlworkflow.training.trackers import register_tracker as register_tracker

_ROOMS = ("data", "engine", "models", "plotting", "runs", "training")  # reached as dlworkflow.data and so on

_HOMES = {  # where each public name lives
    "analysis.cross_validation": (
        "CrossValidation",
        "cross_validate",
    ),
    "analysis.diagnosis": ("diagnose",),
    "analysis.diagnosis.of_run": (
        "RunDiagnosis",
        "diagnose_run",
    ),
    "analysis.differences": (
        "Differences",
        "compare_answers",
        "compare_over_seeds",
    ),
    "analysis.evaluation": (
        "evaluate_run",
        "report_run",
    ),
    "analysis.explanation.explaining": ("explain",),
    "analysis.explanation.importance": ("Importance",),
    "analysis.explanation.results": (
        "ImageExplanation",
        "RowExplanation",
    ),
    "analysis.export": (
        "ExportedModel",
        "export_run",
    ),
    "analysis.label_errors": (
        "LabelErrors",
        "find_label_errors",
    ),
    "analysis.nearest": ("neighbours",),
    "analysis.report": ("write_report",),
    "analysis.robustness": ("robustness_of_run",),
    "analysis.slices.of_run": ("slices_of_run",),
    "config": ("TrainConfig",),
    "course.figures": (
        "display_random_images",
        "plot_accuracy_bars",
        "plot_confusion_matrix",
        "plot_decision_boundary",
        "plot_decision_regions",
        "plot_loss_curves",
        "plot_predicted_images",
        "plot_predictions",
        "plot_run_curves",
        "plot_transformed_images",
    ),
    "course.helpers": (
        "create_writer",
        "download_data",
        "make_predictions",
        "print_train_time",
        "save_model",
        "walk_through_dir",
    ),
    "course.predicted_image": ("pred_and_plot_image",),
    "course.training": (
        "eval_model",
        "fit",
        "resume_training",
        "run_training",
        "test_step",
        "train",
        "train_step",
    ),
    "data.check.folder": ("check_folder",),
    "data.check.report": ("FolderReport",),
    "data.datasets.image_folder": (
        "ImageFolderCustom",
        "find_classes",
    ),
    "data.datasets.tabular": ("TensorData",),
    "data.images.dataset": (
        "ImageData",
        "load_image",
    ),
    "data.loaders": (
        "create_dataloaders",
        "make_loader",
    ),
    "data.splits": ("Splits",),
    "engine.batch_check": ("check_batch",),
    "engine.device": ("choose_device",),
    "engine.loop": (
        "Epoch",
        "Evaluation",
        "evaluate",
    ),
    "engine.random_state": ("set_seeds",),
    "engine.scores": ("Scores",),
    "errors": (
        "BatchError",
        "ConfigError",
        "DataError",
        "DlwError",
        "ModelError",
        "RunError",
    ),
    "inference.onnx_predictor": ("OnnxPredictor",),
    "inference.predictor": (
        "Prediction",
        "Predictor",
        "predict_images",
    ),
    "metrics.functions": (
        "accuracy_fn",
        "confusion_matrix",
    ),
    "metrics.per_class": ("classification_report",),
    "models.blobs": ("BlobModel",),
    "models.circles": (
        "CircleModelV0",
        "CircleModelV1",
        "CircleModelV2",
    ),
    "models.fashion_mnist": (
        "FashionMNISTModelV0",
        "FashionMNISTModelV1",
        "FashionMNISTModelV2",
    ),
    "models.linear": (
        "LineModel",
        "LinearRegressionModel",
        "LinearRegressionModelV2",
    ),
    "models.tiny_vgg": (
        "ImprovedTinyVGG",
        "TinyVGG",
    ),
    "models.weights.checkpoint": ("load_weights",),
    "models.weights.from_weights": ("load_model",),
    "registry.user_code": ("use_code",),
    "runs": (
        "Run",
        "find_run",
        "list_runs",
    ),
    "runs.comparison": (
        "compare_runs",
        "compare_seeds",
    ),
    "training.settings": ("resolve_config",),
    "training.trackers": (
        "Tracked",
        "Tracker",
        "register_tracker",
    ),
}
__getattr__, __dir__, _names = lazy_names(__name__, _HOMES, rooms=_ROOMS)

__all__ = ["__version__", *_names]
