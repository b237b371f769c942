"""Trains a student by torchdistill 1.1.3, and prints the seconds: `python torchdistill_loop.py DATA.npz CACHE_OR_- TEACHER STUDENT EPOCHS`.

It runs in an environment of its own (`pip install torchdistill==1.1.3 timm`); `speed.py` starts it. Newer versions have no cache. The
loop is the one of its examples, without the evaluation after each epoch.
"""

import sys
import time

import numpy as np
import timm
import torch
from torch.utils.data import RandomSampler, TensorDataset
from torchdistill.core.distillation import get_distillation_box

data, cache, teacher, student, epochs = sys.argv[1:]
arrays = np.load(data)
images, labels = torch.from_numpy(arrays["images"]).float().div_(255), torch.from_numpy(arrays["labels"])
classes = int(labels.max()) + 1
torch.manual_seed(0)
loader = {"dataset_id": "train", "sampler": {"class_or_func": RandomSampler}, "kwargs": {"batch_size": 64, "drop_last": True}}
logits = {f"{who}_module_{what}": value for who in ("student", "teacher") for what, value in (("path", "."), ("io", "output"))}
loss = {"key": "KDLoss", "kwargs": logits | {"temperature": 4.0, "alpha": 0.5}}
config = {
    "num_epochs": int(epochs),
    "train_data_loader": loader | ({} if cache == "-" else {"cache_output": cache}),
    "val_data_loader": loader,
    "teacher": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": False},
    "student": {"forward_proc": "forward_batch_only", "sequential": [], "requires_grad": True},
    "optimizer": {"key": "AdamW", "kwargs": {"lr": 1.0e-3, "weight_decay": 0.05}},
    "criterion": {
        "key": "WeightedSumLoss",
        "kwargs": {
            "sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": logits | {"temperature": 4.0, "alpha": 0.5}}, "weight": 1}}
        },
    },
}
models = [timm.create_model(name, num_classes=classes) for name in (teacher, student)]
models[0].eval()
box = get_distillation_box(*models, {"train": TensorDataset(images, labels)}, config, torch.device("cpu"), None, False, 1.0)
started = time.perf_counter()
for epoch in range(int(epochs)):
    box.pre_epoch_process(epoch=epoch)
    for batch, targets, more in box.train_data_loader:
        box.post_forward_process(loss=box.forward_process(batch, targets, supp_dict=more))
    box.post_epoch_process()
print(time.perf_counter() - started)
