"""Layers, losses, metrics and the models made of them; all in `keras.ops`, for every backend."""


def register_all() -> None:
    """Imports every module that registers classes with Keras, so that specs and files find them."""
    import architectures.block_transform
    import architectures.blocks
    import architectures.color_space
    import architectures.compand
    import architectures.gate
    import architectures.gdn
    import architectures.hyperprior
    import architectures.image_compressor
    import architectures.layers
    import architectures.losses
    import architectures.metrics
    import architectures.prediction
    import architectures.preprocessing
    import architectures.rate
    import architectures.resize
    import architectures.spectral_normalization  # noqa: F401
