"""Try an installed saam as a user would: import, attach, the fused operation, the command line. Used by .ci/dist.

python smoke.py            saam and saam-native are installed
python smoke.py --eager    saam alone is installed
"""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

import saam

root = Path(saam.__file__).parent
assert "site-packages" in root.parts, f"expected the installed package, got {root}"
eager_only = "--eager" in sys.argv

network = saam.create_model("resnet8", attention="none").eval()
x = torch.randn(2, 3, 32, 32)
with torch.no_grad():
    before = network(x)
    saam.attach(network, "saam")
    assert torch.equal(network(x), before)

x = torch.randn(2, 64, 14, 14, requires_grad=True)
attention = saam.SAAM(64)
with saam.use_backend("eager"):
    expected = attention(x)
if eager_only:
    assert saam.backends()["fused"] != "available"
else:
    assert saam.backends()["fused"] == "available", saam.backends()
    with saam.use_backend("fused"):
        fused = attention(x)
    torch.testing.assert_close(fused, expected)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        attention(x).sum().backward()
    names = [event.key for event in profile.key_averages()]
    assert any(name.startswith("saam::") for name in names), f"expected the fused operation by default, got {names}"

listed = subprocess.run([sys.executable, "-m", "saam", "list"], capture_output=True, text=True, check=True).stdout
assert "saam" in listed
assert "eca:3557" in listed
versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("saam", "torch"))
print(f"works: {versions}, Python {platform.python_version()}, {platform.machine()}, {saam.backends()}")
