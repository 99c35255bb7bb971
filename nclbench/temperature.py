"""The temperature of softmax operators: given, else the model's own, else a named guess."""

DEFAULT_TAU = 0.01


def choose_tau(given: float | None, logit_scale: float | None, how: str = "tau=…") -> tuple[float, tuple[str, ...]]:
    """(tau, notes). tau is in units of the scores as loaded; logit_scale is linear, tau = 1 / logit_scale. how: it is given."""
    if given is not None:
        return given, ()
    if logit_scale is not None:
        return 1 / logit_scale, ()
    return DEFAULT_TAU, (
        f"tau is not given and the input has no logit_scale: {DEFAULT_TAU} is used, CLIP's value for cosines; "
        f"results depend on it strongly, so give {how}",
    )
