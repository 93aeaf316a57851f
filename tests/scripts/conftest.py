"""Commands as a user calls them, with tiny codecs whose networks are made once for all tests."""

import sys

import pytest


@pytest.fixture
def models(codecs, monkeypatch, workdir):
    """Codecs by kind, in an empty folder."""
    import keras

    from builders import codec_transforms

    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    make = codec_transforms.bundle_transforms

    def remembered(bundle, precision="float32"):
        for kind in ("mean_scale", "plain", "dense"):
            tiny = codecs[kind]
            if tiny.bundle.digest == bundle.digest and precision == "float32":
                return tiny.codec.transforms
        return make(bundle, precision)

    monkeypatch.setattr(codec_transforms, "bundle_transforms", remembered)
    return codecs


@pytest.fixture
def call_script(models, monkeypatch, capsys):
    """Runs a script; returns exit status, standard output and standard error."""
    from builders import progress
    from builders.cli import run_command

    # A bar that a slow machine brings up leaves an empty line in standard error.
    monkeypatch.setattr(progress, "QUIET_SECONDS", float("inf"))

    def run(script, *arguments, model="plain"):
        flags = [] if model is None else ["--model", models[model].folder]
        words = [f"{script.__name__}.py", *map(str, (*arguments, *flags))]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            run_command(script.main)
        told = capsys.readouterr()
        return stop.value.code, told.out, told.err

    return run
