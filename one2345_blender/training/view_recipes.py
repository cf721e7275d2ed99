# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done otherwise about the small Zero123."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How views are drawn with a Zero123: see `Zero123Pipeline`."""

    num_inference_steps: int
    guidance_scale: float
    initial_noise_scale: float
    strength: float = 1.0
    drops_largest_timestep: bool = False

    @classmethod
    def of_preset(cls, config: Mapping[str, Any]) -> Sampling:
        """The one of the reference sampler's stage 1 in a preset's `model_index.json`."""
        return cls(
            num_inference_steps=config["num_inference_steps_stage1"],
            guidance_scale=config["guidance_scale"],
            initial_noise_scale=config["initial_noise_scale"],
            strength=config.get("strength", 1.0),
            drops_largest_timestep=config["drops_largest_timestep"],
        )

    @classmethod
    def of_zero123(cls, config: Mapping[str, Any]) -> Sampling:
        """The recipes' one for a Zero123 that starts with so much noise, there in the schedule."""
        starts = config["initial_noise_scale"], config["strength"]
        same = [s for s in SAMPLINGS.values() if (s.initial_noise_scale, s.strength) == starts]
        return (
            same[0] if same else replace(GUIDED, initial_noise_scale=starts[0], strength=starts[1])
        )

    def in_preset(self) -> dict[str, Any]:
        """As `model_index.json` says it, of both stages the same."""
        return {
            "num_inference_steps_stage1": self.num_inference_steps,
            "num_inference_steps_stage2": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "initial_noise_scale": self.initial_noise_scale,
            "strength": self.strength,
            "drops_largest_timestep": self.drops_largest_timestep,
        }


GUIDED = Sampling(num_inference_steps=8, guidance_scale=2.0, initial_noise_scale=0.5)
UNGUIDED = Sampling(num_inference_steps=4, guidance_scale=1.0, initial_noise_scale=0.5)
ONE_STEP = Sampling(num_inference_steps=1, guidance_scale=1.0, initial_noise_scale=0.0)
FROM_GUESS = Sampling(
    num_inference_steps=4, guidance_scale=1.0, initial_noise_scale=0.5, strength=0.5
)
SAMPLINGS = {
    "guided": GUIDED,
    "unguided": UNGUIDED,
    "one-step": ONE_STEP,
    "from-guess": FROM_GUESS,
}


@dataclass(frozen=True, kw_only=True)
class ViewRecipe:
    """How a small Zero123 is built, what it learns, and how views are drawn with it."""

    predicts: str = "v_prediction"
    """`prediction_type` of diffusers' schedulers."""
    one_step_share: float = 0.0
    """Of the examples: there it learns the views' mean in one step, from zeros in place of noise
    and without guidance. In the others it learns to denoise."""
    learns_median: bool = False
    """Of what is learnt in one step absolute errors count, of the decoded picture beside its
    latents: the median of what may be there has an outline where the mean has fog."""
    drawn_from: Literal["noise", "noised guess", "guess"] = "noise"
    """Where views begin; no further leads the noise that is learnt: to nothing but noise, as far as
    their guess is noised, or from a view to its guess."""
    takes_guess: bool = True
    """The lifter's guess of the wanted view comes in beside the photo."""
    sees_patches: bool = True
    """Cross-attention has the image encoder's patch tokens beside the one of the original."""
    offsets: Literal["method", "any"] = "method"
    """Which camera offsets are learnt: those that the method asks for, or all between two views."""
    camera_at_every_level: bool = True
    """The camera is in the time embedding, too."""

    @property
    def highest_noise_level(self) -> float:
        """Share of the scheduler's timesteps in which denoising is learnt."""
        return 1.0 if self.drawn_from == "noise" else FROM_GUESS.strength

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """Those that its views are judged with; the first one is that of use.

        Whoever predicts the noise must be given all of it.
        """
        one_step = (ONE_STEP,) if self.one_step_share else ()
        if self.drawn_from != "noise":
            return (FROM_GUESS, *one_step)
        noise = 1.0 if self.predicts == "epsilon" else GUIDED.initial_noise_scale
        denoising = [replace(way, initial_noise_scale=noise) for way in (GUIDED, UNGUIDED)]
        return one_step if self.one_step_share == 1.0 else (*one_step, *denoising)

    @property
    def is_drawn_otherwise(self) -> bool:
        """Whether what is learnt needs views to be drawn as `samplings` says."""
        return self.drawn_from != "noise" or self.one_step_share > 0.0


SHIPPED = ViewRecipe()
RECIPES = {
    "velocity": SHIPPED,
    "noise": ViewRecipe(predicts="epsilon"),
    "picture": ViewRecipe(predicts="sample"),
    "one-step": ViewRecipe(one_step_share=1.0),
    "one-step-median": ViewRecipe(one_step_share=1.0, learns_median=True),
    "from-guess": ViewRecipe(drawn_from="guess"),
    "both": ViewRecipe(one_step_share=0.75),
    "both-for-guess": ViewRecipe(one_step_share=0.6, drawn_from="noised guess"),
    "any-offset": ViewRecipe(offsets="any"),
    "no-guess": ViewRecipe(takes_guess=False),
    "no-patches": ViewRecipe(sees_patches=False),
    "camera-in-one-token": ViewRecipe(camera_at_every_level=False),
}
