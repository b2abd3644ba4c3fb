from . import (
    classify as classify,
)
from . import (
    export as export,
)
from . import (
    extract as extract,
)
from . import (
    tune as tune,
)
from .classify import (
    Classifier as Classifier,
)
from .classify import (
    ClassifyError as ClassifyError,
)
from .classify import (
    HeadOptions as HeadOptions,
)
from .classify import (
    compare_classifiers as compare_classifiers,
)
from .classify import (
    evaluate as evaluate,
)
from .classify import (
    load as load,
)
from .classify import (
    read_classifier as read_classifier,
)
from .classify import (
    score as score,
)
from .classify import (
    write_classifier as write_classifier,
)
from .embedder import ImageEmbedder as ImageEmbedder
from .export import (
    ExportError as ExportError,
)
from .export import (
    default_backbone as default_backbone,
)
from .export import (
    export_backbone as export_backbone,
)
from .extract import (
    EngineOptions as EngineOptions,
)
from .extract import (
    ExtractError as ExtractError,
)
from .extract import (
    SourceOptions as SourceOptions,
)
from .extract import (
    embed as embed,
)
from .extract import (
    inspect as inspect,
)
from .extract import (
    merge as merge,
)
from .extract import (
    open_store as open_store,
)
from .files.errors import HeadstartError as HeadstartError
from .jobs import (
    train as train,
)
from .tune import (
    Recipe as Recipe,
)
from .tune import (
    TuneError as TuneError,
)
from .tune import (
    tune_backbone as tune_backbone,
)
from .version import __version__ as __version__
