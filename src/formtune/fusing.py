"""Fused kernels on a GPU: norms, rotations and gated layers in one pass over memory each, where Liger has them.

Liger's kernels (Hsu et al. 2024) are an extra, ``formtune[cuda]``. The loss is ours either way: its scores are computed at
the places that are asked alone.
"""

from importlib.util import find_spec

from formtune.models import Model


def fuse(model: Model) -> bool:
    """Put Liger's kernels in the place of a model's own layers; nothing where it has none for the family.

    The probe that every model passes when it is loaded (:func:`formtune.loading.prove`) runs with them.

    Args:
        model: on a GPU: the kernels run nowhere else.

    Returns:
        Whether they could be asked for.
    """
    if find_spec("liger_kernel") is None:
        return False
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model.module, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    return True
