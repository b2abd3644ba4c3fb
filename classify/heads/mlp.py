"""The network head."""

from typing import Any

from headstart.classify.heads.options import HeadOptions


def make_mlp(options: HeadOptions) -> Any:
    """Give an unfitted network on standardised embeddings."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(
        hidden_layer_sizes=options.hidden, alpha=10.0, learning_rate_init=3e-4, max_iter=40, random_state=options.seed
    )
    return make_pipeline(StandardScaler(), network)
