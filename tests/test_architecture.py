"""The plan of the house: which room may import which, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dlworkflow

SOURCE = Path(dlworkflow.__file__).parent

STOREYS = (  # the doors, lowest first: each may import those of the storeys below it and of none above
    "_version errors",
    "files",
    "registry",
    "config",
    "engine",
    "data metrics plotting runs",
    "models",
    "training inference",
    "analysis",
    "course guide",
    "cli",
)
WITHOUT_CONFIG = "engine data metrics plotting runs models"  # they take plain values and know no settings
PLAN = """
_version:
errors:
files:
files/locking:
files/notebook: files/text
files/numbers: files/text
files/outside: errors files/paths files/writing
files/paths: errors
files/text:
files/writing: errors files/locking
registry: registry/lazy registry/plugins registry/signatures registry/tables
registry/lazy:
registry/plugins:
registry/signatures: errors
registry/tables: errors registry/plugins registry/signatures registry/user_code registry/user_files
registry/user_code: errors files/paths registry/user_files
registry/user_files: errors
config: config/checking config/layers config/settings
config/checking: errors config/layers config/settings
config/command_line: files/text config/flags
config/conflicts: config
config/documentation: registry config/settings
config/flags:
config/layers: errors files/paths registry/user_code config/flags config/settings config/yaml_text
config/settings:
config/yaml_text: errors
engine: registry
engine/arguments: errors engine/device
engine/bare_optimizers:
engine/batch_check: errors engine/tasks
engine/child_processes:
engine/class_weights: errors
engine/data_parallel: errors engine/loss_means engine/tasks
engine/device: errors
engine/early_stopping:
engine/ema:
engine/gathered:
engine/given_accuracy: errors engine/tasks
engine/history: errors
engine/loop: errors files/notebook registry/user_files engine/arguments engine/batch_check engine/data_parallel
    engine/device engine/gathered engine/scores engine/tasks engine/update
engine/loss_means: errors engine/tasks
engine/losses: errors registry engine/loss_means engine/tasks
engine/mixup: engine/tasks
engine/optimizers: errors registry engine/bare_optimizers
engine/precision: errors engine/device
engine/random_state:
engine/schedules: errors registry
engine/scores: errors engine/data_parallel engine/gathered engine/given_accuracy engine/loss_means engine/tasks
engine/signals:
engine/target_scale:
engine/tasks: errors
engine/update: engine/loss_means engine/tasks
data: errors files/paths registry registry/user_code data/download data/folders data/given data/images data/shards
    data/splits
data/check: errors files/notebook files/paths data/folders data/images data/protocol data/splits
data/columns: errors data/folders
data/datasets: errors files/paths registry engine/target_scale data/check data/described data/download data/folders
    data/images data/splits data/strata data/partition
data/described: errors
data/download: errors files/paths
data/first_rows: data/protocol data/splits
data/folders: errors files/paths files/text data/images
data/given: errors data/datasets data/protocol data/splits
data/images: errors files/paths files/writing registry registry/user_code data/described data/protocol data/strata
data/loaders: errors engine/child_processes data/datasets data/folders data/images data/protocol
data/partition: errors
data/protocol:
data/selection: errors data/partition data/protocol data/splits data/strata
data/shards: errors files/paths files/writing registry data/check data/described data/folders data/images data/loaders
    data/protocol data/splits
data/slices: engine/data_parallel data/protocol
data/splits: errors files/notebook files/text engine/target_scale data/columns data/described data/images data/partition
    data/protocol data/strata
data/strata: data/partition
data/tables: errors files/paths registry engine/losses engine/target_scale engine/tasks data/columns data/datasets
    data/folders data/partition data/protocol data/splits
metrics: metrics/functions
metrics/calibration:
metrics/functions: errors registry metrics/multilabel
metrics/intervals: metrics/significance
metrics/multilabel: files/text registry
metrics/per_class: files/text metrics/functions metrics/multilabel
metrics/report: files/notebook files/numbers engine/losses engine/target_scale engine/tasks metrics/functions
    metrics/intervals metrics/multilabel metrics/per_class metrics/significance
metrics/selective: metrics/functions
metrics/significance: registry metrics/functions
plotting: registry
plotting/boundary: errors plotting/points plotting/style
plotting/curves: errors engine/history plotting/points plotting/style
plotting/dataset: errors files/text plotting/grid plotting/points plotting/style
plotting/embedding: errors plotting/grid plotting/points plotting/style
plotting/fonts:
plotting/grid: errors plotting/style
plotting/heat_maps: errors plotting/grid plotting/style
plotting/images: errors files/text plotting/grid plotting/style
plotting/notebook:
plotting/parts: errors plotting/style
plotting/points: errors plotting/style
plotting/results: errors files/text plotting/style
plotting/scores: errors plotting/style
plotting/style: errors files/text files/writing plotting/fonts plotting/notebook
plotting/sweeps: errors plotting/style
plotting/teaching: errors plotting/grid plotting/style
plotting/tradeoff: errors plotting/points plotting/style
runs: registry runs/averaging runs/evaluation runs/finding runs/folder runs/found runs/history runs/naming runs/notes
    runs/stored runs/summary runs/answers
runs/answers: errors files/paths files/text runs/evaluation runs/stored
runs/averaging: runs/stored runs/summary
runs/calibration: runs/found runs/stored runs/summary
runs/calibration_text: files/numbers runs/calibration
runs/cells: files/numbers
runs/comparison: errors files/notebook runs runs/costs runs/notes runs/folder runs/index runs/stored
runs/costs: runs/found
runs/evaluation: files/notebook runs/found runs/stored
runs/found: errors files/paths files/text runs/naming runs/stored runs/summary
runs/evaluation_text: files/numbers runs/evaluation
runs/finding: errors files/paths runs/averaging runs/folder runs/summary runs/index
runs/folder: errors files/locking files/notebook files/paths files/writing runs/evaluation runs/found runs/history
    runs/naming runs/notes runs/stored runs/summary runs/answers
runs/naming:
runs/history: errors files/paths runs/stored
runs/index: _version errors files/writing
runs/keeping: errors files/locking files/paths files/writing runs/finding runs/folder runs/naming runs/stored
runs/labels: runs/found runs/stored
runs/notes: errors files/locking files/paths files/writing runs/stored
runs/robustness: files/notebook runs/found runs/stored
runs/slices: files/notebook runs/found runs/stored
runs/stored: errors files/paths
runs/summary: runs/stored
models: errors registry registry/user_files models/libraries models/recipes
models/activations: registry
models/backbone: errors
models/blobs: registry models/activations
models/circles: registry models/activations
models/fashion_mnist: registry models/activations models/tiny_vgg
models/layers:
models/libraries: models/published models/timm_models models/torchvision_models
models/linear: registry
models/mlp: registry models/activations
models/published:
models/recipes:
models/timm_models: errors models/published
models/tiny_vgg: registry models/activations
models/torchvision_models: errors models/published
models/weights: errors files/paths files/writing data/download models models/backbone models/libraries models/published
    models/torchvision_models
training: registry
training/assembly: engine/class_weights engine/data_parallel engine/loop engine/mixup engine/precision engine/scores
    engine/signals engine/tasks data/loaders data/protocol data/slices models/backbone training/epoch_metrics
    training/frozen_features training/job training/optimization training/state
training/changed_data: errors engine/loop data/check data/protocol data/splits runs training/job training/provenance
training/choice: errors config data models models/weights
training/distributed: errors files/text engine/data_parallel engine/device engine/loop runs training/job training/resume
    training/run
training/epoch_metrics: engine/data_parallel engine/loop engine/tasks metrics/functions
training/explained: errors registry config/documentation config/flags
training/fitting: errors registry engine/losses engine/tasks data data/given data/splits runs models training/run
training/frozen_features: engine/gathered data/datasets data/loaders data/protocol models/backbone
training/job: errors files/paths registry/user_files config engine/class_weights engine/data_parallel engine/device
    engine/losses engine/precision engine/random_state engine/tasks data data/check data/loaders data/protocol
    data/selection data/splits models models/backbone models/libraries models/weights training/choice
    training/optimization training/settings training/transfer
training/lr_finder: errors files/notebook config engine/device engine/loop engine/optimizers data/loaders
    models/backbone training/job training/settings
training/optimization: errors config engine/early_stopping engine/ema engine/optimizers engine/random_state
    engine/schedules engine/update models/backbone training/state
training/own_code: errors registry config engine/losses engine/optimizers engine/schedules data data/images
    metrics/functions models training/trackers
training/provenance: _version registry/user_code engine/data_parallel engine/device engine/loop data/check data/loaders
    data/protocol data/tables metrics/functions metrics/multilabel runs models/weights training/job training/own_code
training/recorder: errors engine/loop runs models/weights training/state
training/resume: errors registry/user_code registry/user_files config engine/data_parallel engine/loop engine/schedules
    data/protocol data/splits runs training/assembly training/changed_data training/job training/provenance training/run
    training/settings
training/run: errors config engine/device engine/loop engine/random_state engine/signals data/images data/loaders runs
    runs/keeping training/assembly training/changed_data training/job training/provenance training/recorder
    training/settings training/state training/trackers
training/settings: errors registry/user_code config config/conflicts config/flags engine/losses engine/optimizers
    engine/schedules data data/splits metrics/functions models training/choice training/own_code training/trackers
    training/transfer
training/state: errors engine/early_stopping engine/ema engine/loop engine/random_state engine/schedules engine/update
    models/weights
training/sweep: _version errors files/notebook files/paths files/writing registry/user_code config
    engine/child_processes engine/device engine/loop engine/losses engine/random_state engine/signals data/loaders runs
    runs/comparison
    runs/finding runs/keeping training/assembly training/job training/provenance training/recorder training/resume
    training/run training/settings training/trackers
training/trackers: errors files/locking registry config/command_line config/settings engine/random_state data/images
    metrics/functions runs runs/stored
training/transfer: errors files/paths config data data/images models models/libraries models/published
inference:
inference/arrays: errors
inference/averaging: engine/target_scale engine/tasks inference/base
inference/backends: errors runs inference/base inference/onnx_predictor inference/predictor inference/stored
inference/base: errors engine/tasks data/columns data/images runs inference/arrays inference/caution inference/inputs
    inference/known_samples inference/parallel inference/prediction inference/records inference/rows inference/samples
inference/caution: errors engine/tasks metrics/selective runs runs/calibration inference/known_samples
    inference/prediction inference/stored
inference/export: _version errors files/text files/writing registry registry/user_files data/columns data/images
    runs/stored inference/predictor
inference/features: data/loaders data/protocol engine/device engine/gathered inference/predictor
inference/inputs: errors files/paths data/columns data/folders data/images data/tables runs inference/rows
inference/known_samples: files/writing registry/user_files runs inference/prediction inference/stored
inference/onnx_predictor: errors files/paths files/text engine/tasks data/columns data/folders data/images runs
    inference/base inference/caution inference/export inference/stored
inference/parallel:
inference/prediction:
inference/predictor: errors engine/batch_check engine/device engine/target_scale engine/tasks data/columns data/folders
    data/images runs models/backbone inference/averaging inference/base inference/caution inference/known_samples
    inference/parallel inference/prediction inference/rebuild inference/stored inference/weights
inference/rebuild: errors registry/user_code registry/user_files runs models models/weights inference/stored
inference/records: errors data/columns inference/inputs inference/rows
inference/rows: errors data/folders
inference/samples: errors files/paths data/images inference/arrays inference/inputs
inference/server: _version errors files/text registry data/images inference/base inference/prediction inference/records
    inference/rows
inference/stored: errors engine/target_scale data/columns data/images runs runs/calibration
inference/weights: errors engine/device engine/tasks data/folders data/images models models/libraries
    models/torchvision_models models/weights inference/rebuild
analysis:
analysis/calibration: errors engine/loop engine/tasks metrics/calibration metrics/functions metrics/selective runs
    runs/calibration runs/evaluation inference/caution inference/features inference/known_samples inference/predictor
    analysis/evaluation analysis/nearest analysis/scored_data
analysis/comparison_figures: errors files/text metrics/functions plotting runs runs/comparison analysis/parts_figures
    analysis/run_figures
analysis/costs: engine/child_processes engine/device registry/user_code runs runs/costs inference/predictor
    inference/samples inference/stored
analysis/cross_validation: errors files/notebook config engine/loop data/protocol data/selection data/splits
    metrics/functions metrics/intervals metrics/report runs runs/evaluation runs/naming training/sweep
    analysis/evaluation analysis/scored_data
analysis/data_figures: errors data/images data/protocol data/shards data/splits metrics/multilabel plotting
    plotting/dataset plotting/grid plotting/style
analysis/diagnosis: errors files/notebook files/numbers files/text registry config config/command_line engine/history
    engine/losses engine/tasks data metrics/functions metrics/significance runs models models/libraries models/weights
    training/choice training/settings inference/rebuild
analysis/embedding: errors
analysis/embedding_figure: errors data/protocol metrics/multilabel metrics/report plotting/embedding plotting/points
    inference/features inference/predictor analysis/embedding analysis/evaluation analysis/scored_data
analysis/difference_text: files/numbers metrics/significance analysis/differences
analysis/differences: errors files/notebook metrics/significance runs files/text
analysis/evaluation: errors files/text engine/device engine/loop engine/losses engine/tasks data/loaders data/protocol
    data/tables metrics/functions metrics/report runs inference/averaging inference/rebuild inference/stored
    analysis/scored_data
analysis/explanation: errors files/notebook files/numbers registry engine/tasks data/columns data/folders data/images
    data/protocol plotting plotting/grid runs inference/arrays inference/averaging inference/base inference/predictor
    inference/records inference/samples analysis/scored_data
analysis/export: errors files/paths files/text files/writing registry/user_files data data/protocol runs
    inference/export inference/predictor inference/stored analysis/scored_data
analysis/figure_marks: errors runs
analysis/figures: errors engine/loop data/splits metrics/report plotting plotting/points plotting/style runs
    inference/predictor analysis/evaluation analysis/run_figures analysis/scored_data
analysis/found_text: files/numbers metrics/significance runs/robustness runs/slices
analysis/label_errors: errors files/notebook files/outside files/paths files/text files/writing registry
    registry/user_code config engine/tasks data data/check data/folders data/images data/protocol data/shards
    data/splits data/tables metrics/functions metrics/multilabel runs runs/answers runs/finding runs/labels models
    models/libraries models/weights training/choice training/job training/settings training/sweep inference/features
    inference/predictor inference/rebuild analysis/cross_validation analysis/evaluation analysis/report
    analysis/scored_data
analysis/parts_figures: errors files/text data/protocol plotting plotting/grid runs runs/robustness runs/slices
    analysis/figure_marks analysis/found_text analysis/scored_data
analysis/report: _version errors files/numbers files/outside files/paths files/text files/writing registry
    registry/user_code config/command_line data data/first_rows data/images data/protocol data/splits metrics/functions
    metrics/multilabel metrics/report plotting/grid runs runs/calibration_text runs/cells runs/comparison runs/costs
    runs/evaluation runs/evaluation_text runs/found runs/labels runs/naming runs/notes runs/robustness runs/slices
    runs/stored inference/stored analysis/comparison_figures analysis/data_figures analysis/diagnosis
    analysis/difference_text analysis/differences analysis/evaluation analysis/figures analysis/found_text
    analysis/run_figures analysis/scored_data
analysis/robustness: errors data/images data/protocol metrics/significance runs runs/robustness inference/averaging
    inference/parallel inference/predictor analysis/scored_data
analysis/run_figures: registry engine/loop engine/tasks data/protocol data/splits metrics/functions metrics/multilabel
    metrics/report metrics/selective plotting plotting/grid plotting/points runs inference/predictor
    analysis/data_figures analysis/embedding_figure analysis/explanation analysis/figure_marks analysis/parts_figures
    analysis/scored_data
analysis/scored_data: errors files/paths registry/user_code config data data/datasets data/folders data/images
    data/protocol data/selection data/shards data/splits data/tables runs inference/rebuild inference/stored
analysis/slices: errors files/paths data/columns data/folders data/images data/loaders data/protocol data/tables
    metrics/functions metrics/significance runs runs/slices inference/averaging inference/features inference/predictor
    inference/stored analysis/evaluation analysis/scored_data
analysis/thresholds: errors engine/tasks metrics/multilabel runs inference/averaging analysis/evaluation
    analysis/scored_data
course:
course/convolution: errors course/trace
course/descent: errors
course/figures: errors data/images plotting plotting/dataset plotting/notebook plotting/points plotting/style
    course/helpers course/pyplot
course/helpers: errors files/paths engine/arguments engine/batch_check engine/loop engine/tasks data/datasets
    data/download runs/finding models/weights
course/predicted_image: errors engine/device data/images plotting plotting/grid plotting/style runs runs/finding
    models/weights inference/stored course/helpers course/pyplot
course/pyplot: plotting/notebook plotting/style
course/trace: errors engine/losses engine/tasks models/layers models/weights
course/training: engine/given_accuracy engine/loop engine/scores engine/tasks metrics/functions runs training
    training/job
guide: errors
cli:
cli/app: _version errors files/text registry registry/user_files data/shards cli/command cli/options cli/streams
    cli/imports
cli/calibrate: errors files/text runs runs/calibration runs/calibration_text analysis/calibration cli/command
    cli/options cli/predict_model cli/tables cli/imports
cli/colours:
cli/cluster: errors config/flags training/sweep cli/options
cli/command: errors files/paths registry/user_code config config/command_line config/documentation config/flags data
    models/recipes cli/options
cli/compare: errors runs runs/cells runs/comparison training/sweep analysis/comparison_figures cli/options cli/runs
    cli/tables files/text cli/tested analysis/differences
cli/config: config/documentation config/flags training/explained cli/options cli/tables
cli/crossval: errors files/numbers files/text registry/user_code config config/flags runs runs/cells
    runs/evaluation_text training/job training/sweep analysis/cross_validation cli/cluster cli/command cli/options
    cli/sweep cli/sweep_lines cli/tables cli/train cli/imports
cli/costs: runs runs/cells analysis/costs cli/command cli/options cli/tables cli/imports
cli/data: errors files/paths data data/check data/first_rows data/images data/shards data/tables analysis/data_figures
    cli/command cli/data_options cli/data_shard cli/data_text cli/options cli/tables cli/data_labels
cli/data_labels: errors files/numbers files/paths files/text files/writing registry/user_code config config/flags data
    data/splits metrics/multilabel runs training/sweep analysis/report cli/command cli/crossval cli/options cli/sweep
    cli/tables cli/train analysis/label_errors files/outside runs/labels
cli/data_options: errors config data data/folders data/selection data/splits
cli/data_shard: errors files/paths files/text files/writing data data/shards cli/data_options cli/data_text cli/options
cli/data_text: files/numbers files/text data data/check data/images data/protocol data/splits metrics/functions
    cli/tables
cli/diagnose: files/text runs analysis/diagnosis cli/command cli/options
cli/doctor: _version engine/device data runs cli/data_text cli/options cli/tables
cli/evaluate: errors config metrics/functions runs cli/cluster cli/command cli/evaluate_each cli/evaluate_parts
    cli/evaluate_run cli/options cli/predict_model cli/tables cli/imports
cli/evaluate_each: errors files/numbers runs training/sweep cli/evaluate_run cli/options cli/predict_model cli/tables
cli/evaluate_parts: errors files/text plotting runs runs/found runs/naming analysis/figures analysis/found_text
    analysis/robustness analysis/slices cli/options cli/predict_model cli/tables
cli/evaluate_run: errors files/numbers files/text data/splits metrics/report runs runs/evaluation_text
    training/trackers inference/caution inference/stored analysis/calibration analysis/evaluation analysis/figures
    analysis/scored_data analysis/thresholds cli/imports cli/options cli/predict_model cli/tables
cli/expected_time:
cli/explain: errors files/numbers files/text runs inference/inputs inference/predictor analysis/explanation cli/command
    cli/evaluate cli/options cli/predict cli/predict_model cli/tables cli/imports
cli/export: errors runs inference/stored analysis/export cli/command cli/options cli/predict_model cli/imports
cli/fitting: files/numbers files/text
cli/guide: errors guide cli/options cli/tables
cli/imports:
cli/list: errors registry cli/command cli/options cli/tables
cli/lr_find: errors config/flags data plotting training/lr_finder training/settings cli/command cli/options cli/imports
cli/models: errors files/numbers files/text config engine/random_state data data/images plotting runs models
    models/layers models/timm_models models/torchvision_models inference/predictor cli/command cli/options cli/tables
cli/model_trace: errors engine/losses engine/random_state engine/tasks data data/loaders data/protocol runs models
    inference/inputs inference/rebuild analysis/scored_data course/trace cli/options
cli/next_steps: errors files/text registry/user_code data data/images runs analysis/diagnosis cli/options
cli/options: errors files/paths files/text files/writing registry/user_code config/flags data plotting plotting/grid
    plotting/style runs models cli/colours
cli/plot: errors data plotting runs analysis/figures analysis/run_figures cli/command cli/evaluate cli/options
    cli/imports
cli/predict: errors files/paths config/flags training/transfer inference/base inference/inputs inference/prediction
    cli/command cli/options cli/predict_model cli/predict_text
cli/predict_model: errors config data runs runs/calibration models models/weights training/sweep inference/backends
    inference/base inference/inputs inference/onnx_predictor inference/predictor inference/stored cli/options
    analysis/nearest cli/imports
cli/predict_text: files/numbers files/text data/images plotting plotting/grid inference/base inference/prediction
    cli/tables analysis/nearest errors
cli/progress: errors files/numbers files/text registry/user_code engine/device engine/loop data/images data/shards
    data/splits metrics/functions metrics/report runs models models/backbone models/weights training/choice training/job
    cli/colours cli/expected_time cli/options
cli/runs: errors files/numbers files/text runs runs/cells runs/comparison runs/notes runs/stored models/weights
    inference/stored cli/command cli/options cli/runs_keeping cli/tables
cli/serve: errors runs inference/backends inference/server cli/command cli/options cli/predict_model
cli/runs_keeping: errors files/numbers files/paths files/text runs runs/comparison training/sweep cli/options
cli/report: errors training/sweep analysis/report cli/command cli/options
cli/streams:
cli/sweep: errors config config/flags data training/sweep cli/cluster cli/command cli/options cli/sweep_lines
    cli/sweep_table cli/tables cli/imports
cli/sweep_lines: files/numbers files/text registry/user_code config runs training/sweep cli/cluster cli/expected_time
    cli/options
cli/sweep_table: files/numbers config analysis/differences metrics/significance plotting runs/cells runs/comparison
    training/sweep cli/options cli/runs cli/tables cli/tested
cli/tables: errors files/numbers files/text cli/colours cli/fitting cli/options
cli/tested: runs/cells runs/comparison analysis/difference_text analysis/differences cli/options cli/tables runs
cli/trace: errors files/text plotting models/layers course/convolution course/descent course/trace cli/command
    cli/model_trace cli/options cli/tables cli/worked_text
cli/train: errors files/paths config config/flags data/images plotting runs training/choice training/distributed
    training/job training/resume training/run training/settings analysis/figures cli/command cli/next_steps cli/options
    cli/progress cli/imports
cli/worked_text: files/numbers models/weights course/convolution course/descent course/trace cli/tables
analysis/nearest: analysis/scored_data data/protocol errors inference/features inference/known_samples
    inference/prediction inference/predictor metrics/multilabel runs
"""  # door/room: the rooms that it imports, itself left out; a package's __init__ has the name of the package

HEAVY = ("torch", "torchvision", "matplotlib", "sklearn", "numpy", "pydantic", "yaml", "PIL")


def read_plan(text: str) -> dict[str, set[str]]:
    lines = text.replace("\n    ", " ").strip().split("\n")
    return {room: set(rooms.split()) for room, _, rooms in (line.partition(":") for line in lines)}


MAY_IMPORT = read_plan(PLAN)


def room_of(parts: tuple[str, ...]) -> str:
    return "/".join(parts[:2])


def door_of(room: str) -> str:
    return room.partition("/")[0]


def parts_of(path: Path) -> tuple[str, ...]:
    """Return `("engine", "loop")` for engine/loop.py and `("engine",)` for engine/__init__.py."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


ROOMS = {path: room_of(parts_of(path)) for path in sorted(SOURCE.rglob("*.py"))}
MODULES = {".".join(parts_of(path)) for path in ROOMS}
STOREY = {door: number for number, doors in enumerate(STOREYS) for door in doors.split()}


def imported_rooms(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path}: imports are absolute here")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dlworkflow":
            home = node.module.removeprefix("dlworkflow").removeprefix(".")
            for alias in node.names:
                inner = f"{home}.{alias.name}".removeprefix(".")
                modules.add(inner if inner in MODULES else home)
        elif isinstance(node, ast.Import):
            modules |= {alias.name.removeprefix("dlworkflow.") for alias in node.names if "dlworkflow." in alias.name}
    return {room_of(tuple(module.split("."))) for module in modules}


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_what_the_table_allows(path):
    room = ROOMS[path]
    if room in ("__init__", "__main__"):
        return

    assert imported_rooms(path) - {room} <= MAY_IMPORT[room]


def test_the_table_has_the_rooms_that_are_there_and_the_arrows_that_are_used():
    used: dict[str, set[str]] = {}
    for path, room in ROOMS.items():
        used.setdefault(room, set()).update(imported_rooms(path) - {room})

    assert {room: rooms for room, rooms in used.items() if room not in ("__init__", "__main__")} == MAY_IMPORT


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_go_down_the_storeys(room):
    door = door_of(room)
    for other in map(door_of, MAY_IMPORT[room]):
        assert other == door or STOREY[other] < STOREY[door], f"{room} imports {other}"
        assert other != "config" or door not in WITHOUT_CONFIG.split(), f"{room} knows settings"


def test_no_room_imports_itself_through_others():
    from graphlib import TopologicalSorter

    TopologicalSorter(MAY_IMPORT).prepare()


def test_the_house_has_sixteen_doors():
    doors = {path.name for path in SOURCE.iterdir() if not path.name.startswith("__pycache__")}

    assert doors - {"_version.py", "py.typed"} == {
        *("__init__.py", "__main__.py", "errors.py", "registry"),
        *("files", "config", "data", "models", "engine", "metrics", "plotting", "runs", "training", "inference"),
        *("analysis", "course", "guide", "cli"),
    }


@pytest.mark.parametrize("door", sorted(set(STOREY) - {"cli", "course"}))
def test_only_cli_and_course_print(door):
    files = [SOURCE / f"{door}.py", *(SOURCE / door).rglob("*.py")]
    calls = [
        node
        for path in files
        if path.exists()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert calls == []


def test_no_code_is_evaluated_and_nothing_but_tensors_is_unpickled():
    forbidden = {"eval", "exec", "compile", "__import__"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in forbidden, path
                assert not name.startswith(("pickle.load", "joblib.load")), path
                if name == "torch.load":
                    assert "weights_only=True" in ast.unparse(node), path


def test_a_path_that_a_user_typed_is_read_by_one_function():
    for path in set(SOURCE.rglob("*.py")) - {SOURCE / "files" / "paths.py"}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("expanduser", "home"), f"{path}:{node.lineno}: use files.paths.user_path"


@pytest.mark.parametrize(
    "module", ["dlworkflow", "dlworkflow.cli.app", "dlworkflow.runs", "dlworkflow.data", "dlworkflow.models"]
)
def test_importing_costs_nothing_heavy(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.split() == []


@pytest.mark.parametrize("name", dlworkflow.__all__)
def test_every_public_name_resolves(name):
    assert getattr(dlworkflow, name) is not None


def test_the_editors_block_lists_exactly_the_public_names():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    listed = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert listed == set(dlworkflow.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        dlworkflow.nonsense  # noqa: B018


def test_no_public_function_bears_a_modules_name():
    modules = {path.stem for path in ROOMS if parts_of(path)[0] != "cli"} | {"data", "models", "plotting"}
    functions = {name for name in dlworkflow.__all__ if callable(getattr(dlworkflow, name))}

    assert not functions & modules
