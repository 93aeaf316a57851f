"""The codecs of a study: made of trained models, and made again when the weights have changed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.codec_choice import read_bundle
from builders.codec_export import DEFAULT_QUANTIZER, CodecChoices, sample_images
from builders.codec_writing import Say, write_codec
from builders.errors import RunError, UserError
from builders.export_formats import BUNDLE
from builders.export_targets import check_free
from builders.run_folder import write_atomically
from builders.spec import Spec
from builders.study_training import Candidate, Trained
from builders.training import open_splits
from builders.weights_choice import load_chosen
from codec.bundle import Bundle


@dataclass(frozen=True)
class CodecPlan:
    """A codec to make.

    Attributes:
        candidate: of which spec.
        quantizer: of its latents; None where an entropy model quantizes.
        several: whether the spec has more than one quantizer here.
    """

    candidate: Candidate
    quantizer: str | None
    several: bool

    @property
    def name(self) -> str:
        """Unique among the models of a study; a file's name."""
        name = self.candidate.name
        return f"{name}-{self.quantizer}" if self.several else name

    @property
    def path(self) -> Path:
        """Of the bundle."""
        suffix = "" if self.quantizer is None else f"-{self.quantizer}"
        return self.candidate.path / f"codec{suffix}"

    @property
    def record(self) -> Path:
        """What the bundle was made of."""
        return self.path.with_name(f"{self.path.name}.json")


def plan_codecs(candidate: Candidate, quantizers: Sequence[str] | None) -> list[CodecPlan]:
    """A plan for each quantizer, or one for an entropy model.

    Args:
        candidate: whose.
        quantizers: asked for; None for the spec's own.
    """
    generator = candidate.spec.sections.model.layers.generator
    if generator.entropy_model is not None:
        return [CodecPlan(candidate, None, several=False)]
    names = quantizers or [generator.quantizer or DEFAULT_QUANTIZER]
    return [CodecPlan(candidate, name, len(names) > 1) for name in names]


def check_target(plan: CodecPlan) -> None:
    """Checks that a bundle can be written.

    Raises:
        UserError: something else is there.
    """
    check_free([plan.path], BUNDLE, force=True)


def make_codecs(
    trained: Trained, plans: Sequence[CodecPlan], tell: Say
) -> tuple[dict[str, Bundle], dict[str, str]]:
    """The bundles of one spec: those that are there and current, and the others made.

    Args:
        trained: the spec's run.
        plans: of this spec.
        tell: told what is being done.

    Returns:
        Name of a plan -> its bundle, and name -> what went wrong.
    """
    found: dict[str, Bundle] = {}
    failed: dict[str, str] = {}
    missing = []
    for plan in plans:
        bundle = _current(plan, trained)
        if bundle is None:
            missing.append(plan)
        else:
            found[plan.name] = bundle
    if missing:
        spec = trained.choice.spec
        images = sample_images(open_splits(spec, quiet=True))
        tell("building the model")
        generator = load_chosen(trained.choice).generator
        for plan in missing:
            choices = CodecChoices(plan.quantizer)
            try:
                write_codec(generator, spec, images, plan.path, choices, tell)
                found[plan.name] = read_bundle(plan.path)
            except (UserError, RunError) as error:
                failed[plan.name] = str(error)
                continue
            content = _made_of(plan, trained) | {"digest": found[plan.name].digest.hex()}
            write_atomically(plan.record, json.dumps(content, indent=2) + "\n")
    return {plan.name: found[plan.name] for plan in plans if plan.name in found}, failed


def _made_of(plan: CodecPlan, trained: Trained) -> dict[str, Any]:
    """All that decides on a bundle."""
    with trained.choice.weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "weights_sha256": digest,
        "quantizer": plan.quantizer,
        "dataset": _dataset(trained.choice.spec),
    }


def _dataset(spec: Spec) -> Any:
    return spec.resolved()["dataset"]


def _current(plan: CodecPlan, trained: Trained) -> Bundle | None:
    """The bundle that is there, if it is whole and made of these weights."""
    try:
        record = json.loads(plan.record.read_text(encoding="utf-8"))
        bundle = read_bundle(plan.path)
    except (OSError, ValueError, RunError):
        return None  # it is made again
    wanted = _made_of(plan, trained) | {"digest": bundle.digest.hex()}
    return bundle if record == wanted else None
