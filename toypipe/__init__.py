"""The library: tensors in, tensors out. It knows no fixed path and prints nothing."""
