"""ADVANCED: what most trainings leave alone."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt

from slipstream.config.panel import PANEL, GivenPath


class DifferentialGuidancePanel(BaseModel):
    """Differential guidance: the target is moved away from the current prediction by a factor."""

    model_config = PANEL

    scale: Annotated[StrictFloat, Field(gt=0, le=20)] = 3.0
    """Factor on the distance between prediction and target. Start at 3; 2 if previews turn too sharp or noisy, 4 if
    learning is slow. 1 changes nothing.

    Formula: target = prediction + scale * (target - prediction), the prediction held constant.
    Change it when: previews turn too sharp or noisy early (2), or learning beside preservation is slow (4).
    """


class AdvancedPanel(BaseModel):
    """ADVANCED: differential guidance, logging and the cache folder."""

    model_config = PANEL

    differential_guidance: DifferentialGuidancePanel | None = None
    """Aims past the target, in the direction the prediction is wrong. Off when left out;
    `differential_guidance: {scale: 3}` turns it on.

    Change it when: you use preservation and the LoRA learns too little beside it (a lower multiplier does the same).
    Careful: it is no faster by itself. With `mse` and `wavelet` every gradient of the pictures is exactly `scale`
    times as large, which Adam evens out: what stays is more clipping by max_grad_norm, less say of eps, and more
    weight against preservation. With `mae` it changes no gradient at all; with the hubers more errors count linearly.
    """

    log_every: Annotated[StrictInt, Field(ge=0)] = 10
    """Write a TensorBoard point every this many steps; 0 is off. `metrics.jsonl` has every step anyway.

    Change it when: a short run should show every step (1).
    Careful: TensorBoard files grow with every point.
    """

    tensorboard: StrictBool = True
    """Write TensorBoard files (loss, learning rate, gradient norm) into the run folder.

    Change it when: you only look at report.html, which needs none of them.
    Careful: switched off in a resumed run, its curves end there.
    """

    cache_dir: GivenPath | None = None
    """Folder for encoded pictures and captions, shared between runs. Left out: the environment variable
    SLIPSTREAM_CACHE if set, else ~/.cache/slipstream.

    Change it when: the home folder is small or on a slow network disk.
    Careful: it may be deleted at any time; what is missing is encoded again.
    """

    vram_limit: Annotated[StrictFloat | StrictInt, Field(ge=2, le=1024)] | None = None
    """The most GPU memory that the run takes, for planning and for real; the rest stays for a screen, a game or another
    program. Left out: all that is free.

    Unit: GiB, what CUDA and its kernels take (about 0.75) included.
    Change it when: you want to use the GPU beside the training, or to see how the run would do on a smaller card.
    Careful: less memory means a slower plan; `slipstream plan` shows which. On the CPU it does nothing.
    """
