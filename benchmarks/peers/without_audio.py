"""Lets LLaMA-Factory be imported where torchaudio is not installed, as long as no audio is read: import it first."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

sys.modules["torchaudio"] = ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)
