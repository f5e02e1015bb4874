"""The only composer: panels become plain values, parts become a `TrainingJob`. The loop is in `loop.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from slipstream.config.run_config import RunConfig
from slipstream.core.atomic import write_json
from slipstream.core.seeding import derive_seed
from slipstream.data.loader import Loader
from slipstream.models.z_image.family import predictor
from slipstream.models.z_image.latents import ImageCodec
from slipstream.objectives.objective import Predict
from slipstream.precision.checkpointing import RunBlock, run_directly
from slipstream.previews.render import Renderer
from slipstream.reports.facts import read_object
from slipstream.runs.layout import RunDir
from slipstream.runs.validation import best_row, read_rows
from slipstream.training.checkpoint import (
    CheckpointPolicy,
    TrainingState,
    changes_since,
    export_lora,
    newest_step,
    range_warning,
    restore,
    save_checkpoint,
)
from slipstream.training.device import DTYPES, peak_memory_gib
from slipstream.training.drift_guard import GuardSettings
from slipstream.training.drift_setting import drift_prompts
from slipstream.training.drift_stage import DriftStage
from slipstream.training.facts import lora_metadata, manifest
from slipstream.training.fast_path import NO_KERNELS, Kernels
from slipstream.training.keeping import Keeping, room_now
from slipstream.training.loop import Requests, TrainingJob
from slipstream.training.objective_settings import needs_blank_caption, noise_levels, objective_settings
from slipstream.training.optimizer_stage import fresh_state, rate_at
from slipstream.training.out_of_memory import MemoryGuard
from slipstream.training.preview_stage import PreviewStage, scaled
from slipstream.training.reporter import Reporter
from slipstream.training.setting import Setting, settle_compute
from slipstream.training.shareable import shared_name
from slipstream.training.stages import (
    Adapted,
    Features,
    Latents,
    prepare_features,
    prepare_latents,
    prepare_transformer,
)
from slipstream.training.step import StepSettings, Update, begin_step
from slipstream.training.step_diary import StepDiary
from slipstream.training.validation_stage import ValidationStage


@dataclass(frozen=True)
class Prepared:
    """Loaded and restored, ready to train."""

    setting: Setting
    run: RunDir
    reporter: Reporter
    adapted: Adapted
    state: TrainingState
    policy: CheckpointPolicy
    metadata: Mapping[str, str]
    loader: Loader
    features: Features
    previews: PreviewStage | None
    validation: ValidationStage | None
    drift: DriftStage | None


def make_reporter(config: RunConfig, run: RunDir, stop: Callable[[], bool]) -> Reporter:
    """The run's reporter; its phases end early where `stop` says so.

    Raises:
        DeviceError: the device asked for is not there.
    """
    device = settle_compute(config).device
    return Reporter(
        run,
        steps=config.training.steps,
        log_every=config.advanced.log_every,
        tensorboard=config.advanced.tensorboard,
        memory_gib=lambda: peak_memory_gib(device),
        first_step=newest_step(run.checkpoints),
        stop=stop,
    )


def prepare(setting: Setting, run: RunDir, reporter: Reporter) -> Prepared:
    """Go through the loading phases and restore the newest checkpoint.

    Raises:
        SlipstreamError: a part does not fit or cannot be read.
    """
    torch.manual_seed(setting.config.job.seed)
    for line in (*setting.describe(), *setting.remarks()):
        reporter.log(line)
    features = prepare_features(setting, reporter)
    latents, codec = prepare_latents(setting, reporter)
    resumes = newest_step(run.checkpoints) > 0
    adapted = prepare_transformer(
        setting, reporter, resumes=resumes, known=known_kernels(setting, run) if resumes else NO_KERNELS
    )
    write_json(run.manifest, manifest(setting, adapted))
    state = fresh_state(setting.config, adapted.lora, setting.optimizer, setting.compute.device)
    save = setting.config.save
    policy = CheckpointPolicy(run.checkpoints, run.name, DTYPES[save.dtype], save.keep, save.keep_every)
    metadata = lora_metadata(setting, adapted.adapter)
    if restore(policy, state):
        reporter.log(f"resumed after step {state.step}")
        for line in changes_since(policy, state.step, metadata):
            reporter.log(f"warning: {line}")
    sampler = setting.sampler()
    return Prepared(
        setting=setting,
        run=run,
        reporter=reporter,
        adapted=adapted,
        state=state,
        policy=policy,
        metadata=metadata,
        loader=Loader(setting.dataset, sampler, latents, features),
        features=features,
        previews=preview_stage(setting, run, reporter, adapted, state, features, codec),
        validation=validation_stage(setting, reporter, adapted, state, latents, features),
        drift=drift_stage(setting, reporter, adapted, state, features),
    )


def preview_stage(
    setting: Setting, run: RunDir, reporter: Reporter, adapted: Adapted, state: TrainingState,
    features: Features, codec: ImageCodec | None,
) -> PreviewStage | None:  # fmt: skip
    """What draws the previews of the state's step; None where there are no prompts."""
    if not setting.pictures or codec is None:
        return None
    renderer = Renderer(
        predict=trained_predictor(adapted),
        decode=codec.decode,
        features=features,
        shift_at=setting.model.load_shift().at,
        device=setting.compute.device,
        latent_downscale=codec.downscale,
        max_batch=previews_at_once(adapted.keeping),
        at_lora_scale=scaled([(adapted.lora, 1.0)]),
    )
    facts = {
        "model": shared_name(setting.config.model.name_or_path),
        "lora": run.name,
        "training_adapter": adapted.adapter.state,
    }
    if adapted.adapter.branches is not None:
        facts["training_adapter"] = "removed"
    return PreviewStage(
        run=run,
        reporter=reporter,
        renderer=renderer,
        pictures=setting.pictures,
        lora_scales=setting.config.sample.lora_scales,
        state=state,
        adapter=adapted.adapter,
        dtype=DTYPES[setting.config.save.dtype],
        facts=facts,
    )


def previews_at_once(keeping: Keeping) -> int:
    """One picture after the other where memory is scarce: a batch of them can need more than training does."""
    return 1 if keeping.is_scarce else Renderer.max_batch


def validation_stage(
    setting: Setting, reporter: Reporter, adapted: Adapted, state: TrainingState, latents: Latents, features: Features
) -> ValidationStage | None:
    """What measures the loss on the held-out pictures; None where validation is off."""
    panel = setting.config.training.validation
    if panel is None or setting.held_out is None:
        return None
    return ValidationStage(
        reporter=reporter,
        state=state,
        examples=setting.held_out.examples,
        latents=latents,
        features=features,
        predict=trained_predictor(adapted),
        levels=panel.noise_levels,
        num_seeds=panel.num_seeds,
        patience=panel.patience,
        seed=derive_seed(setting.config.job.seed, "validation"),
        batch_size=max(previews_at_once(adapted.keeping), setting.config.training.batch_size),
        device=setting.compute.device,
    )


def drift_stage(
    setting: Setting, reporter: Reporter, adapted: Adapted, state: TrainingState, features: Features
) -> DriftStage | None:
    """What measures drift; None where that is off or means nothing."""
    unrelated = drift_prompts(setting.config)
    if unrelated is None:
        return None
    panel = setting.config.training.drift
    assert panel is not None
    return DriftStage(
        reporter=reporter,
        state=state,
        adapter=adapted.adapter,
        predict=trained_predictor(adapted),
        features=features,
        shift_at=setting.model.load_shift().at,
        unrelated=unrelated,
        device=setting.compute.device,
        guard=GuardSettings(panel.guard, panel.lowest_rate, panel.limit),
    ).limited(previews_at_once(adapted.keeping))


def trained_predictor(adapted: Adapted, run: RunBlock = run_directly) -> Predict:
    """The prediction with everything attached: on the fast path, or module by module with `run` calling each block."""
    return adapted.fast.predict if adapted.fast is not None else predictor(adapted.transformer, run)


def known_kernels(setting: Setting, run: RunDir) -> Kernels:
    """The kernels that the run has used so far on such a device."""
    before = read_object(run.manifest)
    same_device = before.get("device") == setting.compute.reasons[0]
    kernels = before.get("kernels") if same_device else None
    return Kernels(**kernels) if isinstance(kernels, dict) else NO_KERNELS


def step_settings(setting: Setting, features: Features) -> StepSettings:
    """The training panel's share of an update."""
    config, training = setting.config, setting.config.training
    return StepSettings(
        seed=derive_seed(config.job.seed, "training"),
        gradient_accumulation=training.gradient_accumulation,
        samples_per_step=setting.samples_per_step,
        max_grad_norm=training.max_grad_norm,
        device=setting.compute.device,
        levels=noise_levels(config),
        objective=objective_settings(config),
        noise_offset=training.noise_offset,
        max_loss=training.max_loss,
        blank_text=features("") if needs_blank_caption(config) else None,
        reads_late=setting.compute.device.type == "cuda" and training.max_loss is None,
    )


def compose(prepared: Prepared, requests: Requests) -> TrainingJob:
    """The job that `loop.train` runs."""
    setting, state, reporter, previews = prepared.setting, prepared.state, prepared.reporter, prepared.previews
    training = setting.config.training
    settings = step_settings(setting, prepared.features)
    guard = memory_guard(prepared)
    predict = trained_predictor(prepared.adapted, guard.run)
    loader, accumulation = prepared.loader, training.gradient_accumulation
    diary = StepDiary(
        reporter, training.max_loss, accumulation / loader.batches_per_epoch,
        size_at=lambda step: loader.size_at(step * accumulation),
    )  # fmt: skip

    def begin() -> Update:
        diary.begin()
        rate = state.rate_factor * rate_at(setting.config, state.step)
        return begin_step(state, loader.batch_at, predict, settings, rate)

    def update() -> None:
        diary.note(guard.step(f"in step {state.step + 1}", begin))

    def drawn(how: Callable[[PreviewStage], bool]) -> bool:
        if previews is None:
            return True
        return guard.drawing("in previews", lambda: how(previews.at_once(guard.at_once)))

    def validate() -> bool:
        stage = prepared.validation
        if stage is None:
            return True
        return guard.drawing(
            "in the validation", lambda: stage.at_once(max(guard.at_once, training.batch_size)).measure()
        )

    def measure_drift() -> bool:
        stage = prepared.drift
        if stage is None:
            return True
        return guard.drawing("in the drift meter", lambda: stage.limited(guard.at_once).measure())

    def save() -> None:
        with reporter.phase("save checkpoint", may_stop=False):
            path = save_checkpoint(prepared.policy, state, prepared.metadata, spared=_best_step(prepared.run))
        reporter.log(f"saved {path.name}")

        if warning := range_warning(state, prepared.policy.dtype):
            reporter.log(warning)

    def finish() -> None:
        export_lora(prepared.run.lora, prepared.policy.dtype, state, prepared.metadata)
        early = ", ended early by the drift guard" if state.ended_early else ""
        reporter.log(f"finished: {prepared.run.lora.name}, {state.step} updates{early}")

    return TrainingJob(
        state=state,
        steps=training.steps,
        save_every=setting.config.save.every,
        preview_every=setting.config.sample.every,
        preview_at_start=setting.config.sample.at_start,
        update=update,
        settle=diary.settle,
        save=save,
        preview=lambda: drawn(PreviewStage.draw),
        sweep=lambda: drawn(PreviewStage.sweep),
        finish=finish,
        requests=requests,
        validate_every=training.validation.every if training.validation is not None else 0,
        validate=validate,
        drift_every=training.drift.every if training.drift is not None else 0,
        measure_drift=measure_drift,
    )


def memory_guard(prepared: Prepared) -> MemoryGuard:
    """What does parts of the training again where memory ran out."""
    adapted, compute = prepared.adapted, prepared.setting.compute
    fast = adapted.fast
    return MemoryGuard(
        adapted.keeping,
        keep=fast.keep if fast is not None else lambda keeping: None,
        graphs=fast.predict if fast is not None else None,
        at_once=previews_at_once(adapted.keeping),
        room=lambda: room_now(compute),
        say=prepared.reporter.log,
    )


def _best_step(run: RunDir) -> int | None:
    """The step whose loss on held-out pictures was lowest so far: its checkpoint is kept."""
    best = best_row(read_rows(run.validation))
    return int(best["step"]) if best is not None else None
