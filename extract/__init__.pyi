from .engines.images import ImageEngine as ImageEngine
from .errors import ExtractError as ExtractError
from .inference.model import (
    Model as Model,
)
from .inference.model import (
    read_model as read_model,
)
from .inference.providers import (
    PROVIDERS as PROVIDERS,
)
from .inference.providers import (
    open_session as open_session,
)
from .inspection import inspect as inspect
from .job import RunSummary as RunSummary
from .notes import Note as Note
from .options import EngineOptions as EngineOptions
from .options import SourceOptions as SourceOptions
from .pipeline import (
    embed as embed,
)
from .sources.find import find_images as find_images
from .store.merging import (
    Share as Share,
)
from .store.merging import (
    merge as merge,
)
from .store.store import (
    Store as Store,
)
from .store.store import (
    open_store as open_store,
)
