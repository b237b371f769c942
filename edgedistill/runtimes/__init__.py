"""One adapter a runtime, each with only the standard library, numpy and that runtime.

An adapter is a module with three functions:

- ``versions() -> dict[str, str]``: package versions, read without importing the runtime.
- ``prepare(threads) -> None``: imports the runtime and does everything that must happen before a model is loaded.
- ``load(path, threads) -> Callable``: the callable maps one array, float32 [1, C, H, W] or uint8 [1, H, W, C] as
  the file takes it, to a new float32 array [1, classes]; another array than the file takes is an error.
"""
