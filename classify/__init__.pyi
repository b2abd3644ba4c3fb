from .artifact.classifier import ClassifierFile as ClassifierFile
from .artifact.classifier import read_classifier as read_classifier
from .artifact.write import write_classifier as write_classifier
from .classifier import Classifier as Classifier
from .classifier import load as load
from .errors import ClassifyError as ClassifyError
from .evaluation.evaluate import (
    compare_classifiers as compare_classifiers,
)
from .evaluation.evaluate import (
    evaluate as evaluate,
)
from .evaluation.metrics import Evaluation as Evaluation
from .heads.kinds import HeadKind as HeadKind
from .heads.options import HeadOptions as HeadOptions
from .heads.registry import HEADS as HEADS
from .heads.registry import make_head as make_head
from .options import TrainOptions as TrainOptions
from .result import TrainResult as TrainResult
from .scoring.predictions import Prediction as Prediction
from .scoring.result import Predictions as Predictions
from .scoring.score import (
    ScoreSummary as ScoreSummary,
)
from .scoring.score import (
    score as score,
)
from .training import (
    train as train,
)
