"""A trained network as an ONNX model, for programs that know nothing of torch."""

import json
import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from toypipe.errors import ToypipeError
from toypipe.evaluation.metrics import predict
from toypipe.networks.checkpoint import Classifier

OPSET = 18  # what torch's exporter writes by itself: any other number, it converts to
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
LARGEST = 2**31 - 2**24  # bytes: a protobuf message ends below 2 GiB, and the graph needs some
BATCH = 8  # images, in the comparison: a network for large ones must not run out of memory


def require_libraries() -> None:
    """Import what `export_onnx` and `largest_difference` need.

    Raises:
        ToypipeError: It is not installed.
    """
    for name in LIBRARIES:
        try:
            import_module(name)
        except ImportError:
            raise ToypipeError(f"export needs {name}: pip install '.[export]'") from None


def export_onnx(classifier: Classifier) -> bytes:
    """Translate a network; the bytes depend on the network and the versions of libraries only.

    By the exporter that builds on torch.export: it proves that the number of images is free, where
    the older one, which torch is about to remove, only records what one example does.

    Args:
        classifier: On the CPU, in evaluation mode.

    Returns:
        A model from `images`, uint8 (N, 3, size, size), to `logits`, float32 (N, classes), for any
        N from 1. Its metadata_props are `classes`, a JSON list of names, `size` and `opset`.

    Raises:
        ToypipeError: The network is too large for one ONNX file.
    """
    import onnx

    _require_room(classifier)
    size = classifier.size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)  # of one image, 1 would be fixed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch 2.11, about itself
        program = torch.onnx.export(
            classifier.model,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: "N"},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    properties = {"classes": json.dumps(classifier.classes), "size": size, "opset": OPSET}
    onnx.helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
    return bytes(model.SerializeToString(deterministic=True))


def _require_room(classifier: Classifier) -> None:
    weights = sum(tensor.nbytes for tensor in classifier.model.state_dict().values())
    if weights > LARGEST:
        raise ToypipeError(
            f"the network has {weights / 1e9:.1f} GB of weights, but an ONNX file holds at most"
            f" {LARGEST / 1e9:.1f}: train a smaller one (train.model.arch)"
        )


def _strip(model: Any) -> None:
    """Take out where and by what the model was made: torch notes source lines, with their paths."""
    model.ClearField("producer_version")
    graphs = [model.graph, *model.functions]
    for part in (*graphs, *(node for graph in graphs for node in graph.node)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def largest_difference(model: bytes, classifier: Classifier, images: Tensor) -> float:
    """Compare what ONNX Runtime and torch answer, on the CPU.

    Args:
        model: What `export_onnx` returned.
        classifier: What it was given.
        images: uint8 of shape (N, 3, size, size), N at least 2; one is shown alone, the others
            several at once.

    Returns:
        The largest absolute difference of a probability, 0..1.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; it would warn of GPUs that it cannot find
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answers = [
        torch.from_numpy(session.run(["logits"], {"images": batch.contiguous().numpy()})[0])
        for batch in (images[:1], *images[1:].split(BATCH))
    ]
    expected = predict(classifier.model, images, batch_size=BATCH, views=1)
    return float((torch.cat(answers).softmax(1) - expected.softmax(1)).abs().max())
