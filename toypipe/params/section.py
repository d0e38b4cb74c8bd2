"""What the sections of params.yaml are made of: their base, and the kinds of numbers in them."""

from typing import Annotated

from pydantic import BaseModel, Field

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
BatchSize = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=8, le=1024)]


class Section(BaseModel, strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """A section of the file: strictly typed, unchangeable, without unknown fields."""
