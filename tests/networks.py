"""Does surgery work on every family of convolutional networks? One check of a network, and the names of many.

With random weights and a small input: find the sites, attach saam with an identity start and compare the outputs,
detach and compare keys and outputs, attach again and train a step (every new parameter must get a finite gradient in
the second), upgrade where there is attention, and torch.export what was attached. The tests run a sample, docs/zoo.py
runs them all.
"""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from saam.models import create_model
from saam.surgery import attach, detach, new_parameters, sites, upgrade

TIMM = """
botnet26t_256 convformer_s18 convmixer_768_32 convnext_atto convnextv2_atto cs3darknet_focus_s csatv2 cspdarknet53
cspnext_tiny cspresnet50 cspresnext50 darknet17 darknet53 densenet121 densenetblur121d dla34 dla46x_c dm_nfnet_f0
dpn48b eca_nfnet_l0 eca_resnext26ts ecaresnet26t edgenext_xx_small efficientformer_l1 efficientformerv2_s0
efficientnet_b0 efficientnet_es efficientnetv2_rw_t efficientvit_b0 ese_vovnet19b_dw fasternet_t0 fastvit_t8
fbnetc_100 fbnetv3_b focalnet_tiny_srf gc_efficientnetv2_rw_t gcresnet33ts gcresnet50t gernet_s ghostnet_050
ghostnetv2_100 ghostnetv3_050 hardcorenas_b hgnet_tiny hgnetv2_b0 hrnet_w18_small inception_next_atto
inception_resnet_v2 inception_v3 inception_v4 lcnet_035 lcnetv2_small legacy_senet154 legacy_seresnet18
legacy_xception levit_128s lowformer_b0 mambaout_femto maxvit_rmlp_pico_rw_256 mixnet_s mnasnet_small mobilenetv1_100
mobilenetv2_035 mobilenetv3_small_050 mobilenetv4_conv_small mobilenetv4_hybrid_medium mobilenetv5_base mobileone_s1
mobilevit_xxs mobilevitv2_050 nasnetalarge nextvit_small nf_regnet_b0 nf_resnet26 pnasnet5large poolformer_s12
rdnet_tiny regnetv_040 regnetx_002 regnety_002 regnetz_b16 repghostnet_050 repvgg_a0 repvgg_d2se repvit_m0_9
res2net50_14w_8s res2next50 resnest14d resnet18 resnet50 resnet50d resnetaa50 resnetblur50 resnetrs50 resnetv2_18
resnetv2_50 resnetv2_50x1_bit resnext26ts resnext50_32x4d rexnet_100 rexnetr_200 sedarknet21 selecsls42 semnasnet_050
seresnet18 seresnext26d_32x4d shvit_s1 skresnet18 skresnext50_32x4d spnasnet_100 starnet_s1 swiftformer_xs
tf_efficientnetv2_b0 tinynet_e tresnet_m vgg11 vgg11_bn visformer_tiny wide_resnet50_2 xception41 xception65
"""

TORCHVISION = """
alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 mobilenet_v2
mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1
vgg11 vgg11_bn wide_resnet50_2
"""

OWN = "resnet20 preresnet20 wrn16_2 resnext29_2x16d vgg11_bn densenet40_12 mobilenetv2"

SAMPLE = """
resnet20 preresnet20 vgg11_bn densenet40_12 mobilenetv2 resnext29_2x16d wrn16_2
timm:convnext_atto timm:cs3darknet_focus_s timm:dla46x_c timm:ecaresnet26t timm:efficientvit_b0 timm:ese_vovnet19b_dw
timm:ghostnet_050 timm:hgnetv2_b0 timm:lcnet_035 timm:mixnet_s timm:mobilenetv3_small_050 timm:mobilenetv4_conv_small
timm:nf_regnet_b0 timm:regnetz_b16 timm:repvgg_a0 timm:resnetv2_18 timm:res2net50_14w_8s timm:starnet_s1
torchvision:mobilenet_v2 torchvision:regnet_x_400mf torchvision:resnet18 torchvision:shufflenet_v2_x0_5
torchvision:squeezenet1_1
"""
"""What the tests run of it."""

SIZES = {
    "inception_v3": 299,
    "inception": 128,
    "nasnet": 128,
    "pnasnet": 128,
    "xception": 128,
    "vgg": 64,
    "alexnet": 96,
}


@dataclass
class Row:
    """What came of one network."""

    name: str
    millions: float = 0.0
    where: str = ""
    attached: int = 0
    difference: str = ""
    upgraded: str = ""
    export: str = ""
    failures: list[str] = field(default_factory=list)


def names() -> list[str]:
    """Return all networks of the sweep."""
    return [
        *OWN.split(),
        *(f"timm:{name}" for name in TIMM.split()),
        *(f"torchvision:{name}" for name in TORCHVISION.split()),
    ]


def check(name: str, *, export: bool = True) -> Row:
    """Do all surgery on one network."""
    row = Row(name)
    try:
        model = create_model(name, seed=0).eval()
        _wake(model)
        row.millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        x = example(name, model)
        _attach(row, model, x)
        _upgrade(row, model, x)
        if row.where:
            _train(row, model, x)
            if export:
                _export(row, model, x)
    except Exception as error:
        row.failures.append(f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
    return row


def _wake(model: nn.Module) -> None:
    """Give weights to what starts at nothing (last norms, layer scales), or no branch would matter."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() < 1e-2:
                parameter.copy_(0.5 * torch.rand(parameter.shape, generator=generator))


def example(name: str, model: nn.Module) -> Tensor:
    """Return two random images of a small size that the network takes."""
    config = getattr(model, "pretrained_cfg", None) or {}
    short = name.partition(":")[2]
    side = next((size for start, size in SIZES.items() if short.startswith(start)), 64) if short else 32
    if config.get("fixed_input_size"):
        side = config["input_size"][-1]
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def _attach(row: Row, model: nn.Module, x: Tensor) -> None:
    """Attach where the network has residual sites, or else at its stages; compare outputs, keys and outputs again."""
    keys, before = list(model.state_dict()), outputs(model, x)
    found = {site.kind for site in sites(model, example=x)}
    row.where = next((kind for kind in ("residual", "stage", "conv") if kind in found), "")
    if not row.where:
        row.failures.append("no site")
        return
    row.attached = len(attach(model, "saam", where=row.where, example=x).changes)
    after = outputs(model, x)
    row.difference = "none" if torch.equal(before, after) else f"{float((before - after).abs().max()):.1e}"
    if not torch.allclose(before, after, rtol=1e-4, atol=1e-5 * float(before.abs().max())):
        row.failures.append(f"attach changed the outputs by {row.difference}")
    detach(model)
    attach(model, "se", where=row.where, start="default", example=x)
    if torch.equal(before, outputs(model, x)):
        row.failures.append("attention there has no effect")
    detach(model)
    if list(model.state_dict()) != keys:
        row.failures.append("detach left other keys")
    if not torch.equal(before, outputs(model, x)):
        row.failures.append("detach left other outputs")


def _upgrade(row: Row, model: nn.Module, x: Tensor) -> None:
    """Upgrade where there is attention; compare outputs, and keys and outputs after undoing it.

    In float64: random weights without matching norms amplify the rounding of a sum of equal weights against a mean.
    """
    model, x = copy.deepcopy(model).double(), x.double()
    keys, before = list(model.state_dict()), outputs(model, x)
    try:
        report = upgrade(model, example=x)
    except ValueError as error:
        if "no attention to upgrade" in str(error):
            return
        raise
    row.upgraded = str(len(report.changes))
    after = outputs(model, x)
    if not torch.allclose(before, after, rtol=1e-6, atol=1e-6 * float(before.abs().max())):
        row.failures.append(f"upgrade changed the outputs by {float((before - after).abs().max()):.1e}")
    detach(model)
    if list(model.state_dict()) != keys or not torch.equal(before, outputs(model, x)):
        row.failures.append("detach did not undo the upgrade")


def _train(row: Row, model: nn.Module, x: Tensor) -> None:
    """Two steps on the new parameters: the first moves the last layers, the second must reach all."""
    attach(model, "saam", where=row.where, example=x)
    new = new_parameters(model)
    model.train()
    optimizer = torch.optim.SGD(new.values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        output = model(x)
        loss = sum(leaf.float().square().mean() for leaf in leaves(output))
        loss.backward()
        optimizer.step()
    without = [name for name, parameter in new.items() if parameter.grad is None]
    if without:
        row.failures.append(f"{len(without)} new parameters get no gradient, {without[0]} for one")
    if any(not bool(p.grad.isfinite().all()) for p in new.values() if p.grad is not None):
        row.failures.append("a gradient is not finite")
    model.eval()


def _export(row: Row, model: nn.Module, x: Tensor) -> None:
    try:
        model, x = model.double(), x.double()  # outputs of random networks are large, and float32 rounds them
        exported = torch.export.export(model, (x,), strict=False).module()
        same = torch.allclose(outputs(exported, x), outputs(model, x))
        row.export = "yes" if same else "other outputs"
    except Exception as error:
        attached = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        detach(model)
        try:
            torch.export.export(model, (x,), strict=False)
            row.export = attached
            row.failures.append(f"torch.export: {attached}")
        except Exception:
            row.export = "not without attention either"


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of a network, all in one row."""
    with torch.no_grad():
        return torch.cat([leaf.flatten() for leaf in leaves(model(x))])


def leaves(output: object) -> list[Tensor]:
    """Return the tensors in what a network gives."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
