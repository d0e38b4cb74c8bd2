"""A trained network as an ONNX model, for programs without torch."""

import json
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor

from toypipe.errors import ToypipeError
from toypipe.evaluation.metrics import predict
from toypipe.networks.checkpoint import Classifier

OPSET = 18  # what torch's exporter writes without a conversion
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
LARGEST = 2**31 - 2**24  # bytes of weights: a protobuf message, with the graph, ends below 2 GiB
BATCH = 8  # images per comparison, so that a network for large images fits into the memory


def export_onnx(classifier: Classifier) -> bytes:
    """Translate a network; the bytes depend only on the network and the libraries' versions.

    The network is on the CPU, in evaluation mode. torch.export proves that the number of images is
    free; torch's older exporter only records one example.

    The model maps `images`, uint8 (N, 3, size, size), to `logits`, float32 (N, classes), for any N
    from 1. Its metadata_props are `classes` (a JSON list of names), `size` and `opset`. Raises
    ToypipeError if a library is missing, or the network is too large for one ONNX file.
    """
    for name in LIBRARIES:
        if find_spec(name) is None:  # -e keeps the editable install, which `toypipe` needs
            raise ToypipeError(
                f"export needs {name}, which is not installed: pip install -e '.[export]'"
            )
    import onnx

    weights = sum(tensor.nbytes for tensor in classifier.model.state_dict().values())
    if weights > LARGEST:
        raise ToypipeError(
            f"the network has {weights / 1e9:.1f} GB of weights, but an ONNX file holds at most"
            f" {LARGEST / 1e9:.1f}: train a smaller one (train.model.arch)"
        )
    size = classifier.size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)  # 2, because torch would fix a 1
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch 2.11's own
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
    # torch notes its version and, per node, the lines of source with their paths.
    model.ClearField("producer_version")
    graphs = [model.graph, *model.functions]
    for part in (*graphs, *(node for graph in graphs for node in graph.node)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    properties = {"classes": json.dumps(classifier.classes), "size": f"{size}", "opset": f"{OPSET}"}
    onnx.helper.set_model_props(model, properties)
    return bytes(model.SerializeToString(deterministic=True))


def largest_difference(model: bytes, classifier: Classifier, images: Tensor) -> float:
    """Return the largest difference between ONNX Runtime's and torch's probabilities, 0..1.

    `images` are uint8 (N, 3, size, size), N at least 2: one is shown alone, the others in batches.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only; warnings name GPUs that it cannot find
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answers = [
        torch.from_numpy(session.run(["logits"], {"images": batch.contiguous().numpy()})[0])
        for batch in (images[:1], *images[1:].split(BATCH))
    ]
    expected = predict(classifier.model, images, batch_size=BATCH, views=1)
    return float((torch.cat(answers).softmax(1) - expected.softmax(1)).abs().max())
