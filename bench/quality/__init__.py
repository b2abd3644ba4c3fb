"""How well backbones and tuning do on photos, compared with other ways to train."""
