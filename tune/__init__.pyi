from .errors import TuneError as TuneError
from .pipeline import (
    TuneResult as TuneResult,
)
from .pipeline import (
    tune_backbone as tune_backbone,
)
from .recipe import Recipe as Recipe
