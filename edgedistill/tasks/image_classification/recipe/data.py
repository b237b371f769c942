"""The data part of a recipe: where samples come from and how they are split, resized and augmented."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from edgedistill.recipe.base import Config, FilePath, FolderPath, mistake, nearest
from edgedistill.recipe.data import LEAKAGE, OWN_HOLDOUT, SETS, DataOfSets, Leakage, SampleSet, SetName

Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Deviations = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)]


class ImageFolder(Config):
    """A folder of class folders, or of `train`, `val` and `holdout` folders of class folders."""

    imagefolder: FolderPath = Field(description="Folder with one folder of images a class; a class is named after its folder.")


class Images(Config):
    """A folder of images without labels, for a student that is quantized as it is."""

    images: FolderPath = Field(
        description="Folder of images at any depth; they calibrate and verify, and nothing tells how accurate a model is."
    )


class Npz(Config):
    """One NumPy file with arrays `images`, `labels` and, if the data has splits, `split`."""

    npz: FilePath = Field(
        description="images uint8 [N,H,W] or [N,H,W,3], labels int [N] (-1 for none), optional split [N]: 0 train, 1 val, 2 holdout; "
        "further arrays [N] are fields."
    )


class Csv(Config):
    """A table of images: one row each, with the image's path and its class; further columns are fields."""

    csv: FilePath = Field(description="A CSV file with a header; paths of images start at its folder.")
    image: str = Field("image", min_length=1, description="Column of the image's path.")
    label: str = Field("label", min_length=1, description="Column of the class; empty for an image without a label.")
    split: str | None = Field(None, description="Column that says train, val or holdout.")


class HuggingFace(Config):
    """A dataset of Hugging Face datasets, with a split train and perhaps validation and test."""

    hf: str = Field(min_length=1, description="Folder of a saved dataset, or its name on the hub; needs the extra `hf`.")
    image: str = Field("image", min_length=1, description="Column of the image.")
    label: str = Field("label", min_length=1, description="Column of the class; -1 or null for an image without a label.")


class WebDataset(Config):
    """Tar files with an image and a .cls file for each sample."""

    webdataset: str = Field(min_length=1, description="Pattern of the files, as shards/train-{000..009}.tar or shards/*.tar.")


SOURCE_KINDS: dict[str, type[Config]] = {
    "imagefolder": ImageFolder, "images": Images, "npz": Npz, "csv": Csv, "hf": HuggingFace, "webdataset": WebDataset,
}  # fmt: skip
_SOURCES = "'sklearn-digits', {imagefolder: DIR}, {images: DIR}, {npz: FILE}, {csv: FILE}, {hf: DIR} or {webdataset: PATTERN}"


def _kinds(value: Any) -> list[str]:
    return [key for key in SOURCE_KINDS if key in value] if isinstance(value, dict) else []


def _one_source(value: Any) -> Any:
    """Refuse what fits no source with one error, since a union would report one error a member."""
    if isinstance(value, Config) or value == "sklearn-digits" or len(_kinds(value)) == 1:
        return value
    word = next(iter(value), "") if isinstance(value, dict) else value
    raise mistake(_SOURCES + nearest(word, ["sklearn-digits", *SOURCE_KINDS]))


def _source_kind(value: Any) -> str:
    if isinstance(value, Config):
        return f"union:{type(value).__name__}"
    return f"union:{SOURCE_KINDS[_kinds(value)[0]].__name__}" if isinstance(value, dict) else "union:embedded"


Source = Annotated[
    Annotated[Literal["sklearn-digits"], Tag("union:embedded")]
    | Annotated[ImageFolder, Tag("union:ImageFolder")]
    | Annotated[Images, Tag("union:Images")]
    | Annotated[Npz, Tag("union:Npz")]
    | Annotated[Csv, Tag("union:Csv")]
    | Annotated[HuggingFace, Tag("union:HuggingFace")]
    | Annotated[WebDataset, Tag("union:WebDataset")],
    Discriminator(_source_kind),
    BeforeValidator(_one_source),
]


class ImagePart(Config):
    """Images beside those of `data.source`, of the same classes."""

    source: Source = Field(description=f"One of {_SOURCES}.")


class LabelledSet(ImagePart, SampleSet):
    """A set of images with a weight of its own."""


class Resize(Config):
    """How an image becomes the square that a model sees."""

    side: int | None = Field(
        None, ge=16, le=2048, description="What the shorter side is resized to, before the centre is cropped; null is image_size."
    )
    stretch: bool = Field(False, description="Resize both sides to it, whatever the image's shape.")
    filter: Literal["triangle", "cubic"] = Field(
        "triangle", description="Both widen as the image shrinks: `bilinear` and `bicubic` with antialiasing, as in Pillow."
    )
    odd_margin: Literal["even", "down"] = Field(
        "even", description="To which number half of an odd margin is rounded: the even one, as in torchvision, or the one below."
    )


PLAIN = Resize()
"""The shorter side is resized to image_size, then the centre is cropped."""


class Augment(Config):
    """Random changes of a training image, drawn once for each view."""

    shift: float = Field(0.0, ge=0, lt=1, description="Largest shift, as a fraction of the image's side.")
    rotate: float = Field(0.0, ge=0, le=180, description="Largest rotation, in degrees, either way.")
    scale: float = Field(0.0, ge=0, lt=1, description="Largest change of size, as a fraction, either way.")
    hflip: bool = Field(False, description="Mirror half of the images; wrong where left and right differ, as in digits.")
    brightness: float = Field(0.0, ge=0, le=1, description="Largest change of brightness and contrast, as a fraction, either way.")
    erase: float = Field(0.0, ge=0, le=1, description="Probability that a rectangle of the image is erased.")


class Data(DataOfSets):
    """Images, and what happens to them before a model sees them."""

    kinds: ClassVar[Mapping[str, Collection[str]]] = {"source": SOURCE_KINDS}

    @model_validator(mode="before")
    @classmethod
    def _one_view_of_what_stays_the_same(cls, value: Any) -> Any:
        """Each view of an image that nothing changes is the image, and the teacher would be asked for each."""
        if not isinstance(value, Mapping) or "views" in value:
            return value
        augment = value.get("augment") or {}
        changes = any(augment.values()) if isinstance(augment, Mapping) else augment != Augment()
        return {**value, "views": 4 if changes else 1}

    source: Source = Field(
        "sklearn-digits", description=f"One of {_SOURCES}; sklearn-digits are 1797 real scans of digits that come with scikit-learn."
    )
    unlabelled: FolderPath | None = Field(
        None, description="Folder of further training images without labels, at any depth; the teacher alone teaches them."
    )
    sets: dict[SetName, LabelledSet] = Field({}, max_length=32, description=SETS)
    holdout: ImagePart | None = Field(None, description=OWN_HOLDOUT)
    image_size: int = Field(
        32,
        ge=16,
        le=1024,
        description="Side of the square that a model sees, in pixels: the shorter side is resized to it, then the centre is cropped.",
    )
    resize: Resize = Field(PLAIN, description="Another way from an image to this square.")
    augment: Augment = Field(Augment(), description="Augmentation of training images; none by default. With any, `views` is 4 by default.")
    mean: Channels = Field([0.5, 0.5, 0.5], description="Subtracted from each channel of an RGB image in 0..1; inside every artifact.")
    std: Deviations = Field(
        [0.5, 0.5, 0.5], description="Each channel is divided by it after the mean is subtracted; inside every artifact."
    )
    leakage: Leakage = Field("report", description=LEAKAGE)

    @model_validator(mode="after")
    def _crop_is_inside(self) -> "Data":
        if (side := self.resize.side) is not None and side < self.image_size:
            raise mistake(f"resize.side of at least image_size, {self.image_size}", f"found {side}")
        return self
