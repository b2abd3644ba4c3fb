"""A store of cached tensors to a backbone with a tuned tail: train a network's last blocks.

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
