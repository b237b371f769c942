"""Makes a package the same bytes each time: coremltools draws identifiers, and protobuf writes maps in any order."""

import json
import uuid
from pathlib import Path


def fix(package: Path) -> None:
    """Give the items of `package` identifiers made of their paths, and write the maps of its program in order."""
    from coremltools.proto.Model_pb2 import Model

    manifest = package / "Manifest.json"
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    items = facts["itemInfoEntries"]
    identifiers = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for old, item in items.items()}
    facts["itemInfoEntries"] = {identifiers[old]: item for old, item in items.items()}
    facts["rootModelIdentifier"] = identifiers[facts["rootModelIdentifier"]]
    # In the order and form in which Core ML's own library writes it again whenever it opens a package.
    manifest.write_text(json.dumps(facts, indent=4, sort_keys=True) + "\n", encoding="utf-8")
    file = package / "Data" / items[next(old for old, new in identifiers.items() if new == facts["rootModelIdentifier"])]["path"]
    model = Model.FromString(file.read_bytes())
    file.write_bytes(model.SerializeToString(deterministic=True))
