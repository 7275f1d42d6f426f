"""A model in a form that other runtimes read. The extra `onnx` holds what it needs."""
