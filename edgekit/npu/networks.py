"""Networks that figures are published for, as the loops of their matrix products."""

from __future__ import annotations

from edgekit.npu.workload import Loops, Workload, of_loops

Network = tuple[tuple[str, Loops], ...]


def scale_sim_alexnet() -> Network:
    """AlexNet's convolutions as SCALE-Sim's alexnet.csv has them: no groups, padded inputs."""
    rows = (
        ("Conv1", 224, 11, 3, 96, 4),
        ("Conv2", 31, 5, 96, 256, 1),
        ("Conv3", 15, 3, 256, 384, 1),
        ("Conv4", 15, 3, 384, 384, 1),
        ("Conv5", 15, 3, 384, 256, 1),
    )
    return tuple((name, _valid(*sizes)) for name, *sizes in rows)


def _valid(size: int, kernel: int, channels: int, filters: int, stride: int) -> Loops:
    # SCALE-Sim rounds up: at a stride above 1 its last window may hang over the edge.
    out = -(-(size - kernel + stride) // stride)
    return Loops(p=out, q=out, m=filters, c=channels, r=kernel, s=kernel, strides=(stride, stride))


def alexnet(batch: int = 1) -> Network:
    """AlexNet's convolutions in two groups where Krizhevsky's has them, 227x227 pixels."""
    return (
        ("C1", Loops(p=55, q=55, m=96, c=3, r=11, s=11, n=batch, strides=(4, 4))),
        ("C2", _same(27, 5, 48, 128, groups=2, n=batch)),
        ("C3", _same(13, 3, 256, 384, n=batch)),
        ("C4", _same(13, 3, 192, 192, groups=2, n=batch)),
        ("C5", _same(13, 3, 192, 128, groups=2, n=batch)),
    )


def mobilenet_v1() -> Network:
    """MobileNet v1 at width 1 and 224x224 pixels (Howard et al., arXiv 1704.04861, table 1)."""
    layers = [("conv", _same(112, 3, 3, 32, stride=2, size=224))]
    channels, size = 32, 112
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5)
    for i, (filters, stride) in enumerate((*blocks, (1024, 2), (1024, 1))):
        out = size // stride
        layers.append((f"depthwise {i}", _depthwise(out, channels, stride, size)))
        layers.append((f"pointwise {i}", _same(out, 1, channels, filters)))
        channels, size = filters, out
    return (*layers, ("classes", _dense(1024, 1000)))


def mobilenet_v2() -> Network:
    """MobileNet v2 at width 1 and 224x224 pixels (Sandler et al., arXiv 1801.04381, table 2)."""
    layers = [("conv", _same(112, 3, 3, 32, stride=2, size=224))]
    channels, size = 32, 112
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for factor, filters, repeats, first in stages:
        for i in range(repeats):
            stride = first if i == 0 else 1
            wide, out, name = channels * factor, size // stride, f"{filters}.{i}"
            if factor > 1:
                layers.append((f"expand {name}", _same(size, 1, channels, wide)))
            layers.append((f"depthwise {name}", _depthwise(out, wide, stride, size)))
            layers.append((f"project {name}", _same(out, 1, wide, filters)))
            channels, size = filters, out
    layers.append(("last", _same(7, 1, 320, 1280)))
    return (*layers, ("classes", _dense(1280, 1000)))


def vgg16() -> Network:
    """VGG16 at 224x224 pixels (Simonyan & Zisserman, arXiv 1409.1556, configuration D)."""
    layers, channels, size = [], 3, 224
    for stage, (filters, repeats) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for i in range(repeats):
            layers.append((f"conv {stage}.{i}", _same(size, 3, channels, filters)))
            channels = filters
        size //= 2
    sizes = ((25088, 4096), (4096, 4096), (4096, 1000))
    return (*layers, *((f"dense {i}", _dense(*pair)) for i, pair in enumerate(sizes)))


def resnet50(size: int = 224) -> Network:
    """ResNet-50 (He et al., arXiv 1512.03385, table 1), strides in the blocks' first 1x1."""
    side = -(-size // 2)
    layers = [("conv", _same(side, 7, 3, 64, stride=2, size=size))]
    channels, side = 64, -(-side // 2)
    for stage, (narrow, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for i in range(repeats):
            stride = 2 if stage and i == 0 else 1
            out, name = -(-side // stride), f"{stage}.{i}"
            if i == 0:
                skip = _same(out, 1, channels, 4 * narrow, stride=stride, size=side)
                layers.append((f"skip {name}", skip))
            reduced = _same(out, 1, channels, narrow, stride=stride, size=side)
            layers.append((f"reduce {name}", reduced))
            layers.append((f"conv {name}", _same(out, 3, narrow, narrow)))
            layers.append((f"widen {name}", _same(out, 1, narrow, 4 * narrow)))
            channels, side = 4 * narrow, out
    return (*layers, ("classes", _dense(2048, 1000)))


def workload(name: str, network: Network, bits: int = 8) -> Workload:
    """A network as a workload in which each layer reads what the one before it wrote."""
    layers = []
    for node, (layer_name, loops) in enumerate(network):
        layer = of_loops(layer_name, loops, bits=bits, node=node)
        layers.append(layer)
    return Workload(name, tuple(layers), (layers[0].inputs[0].place,), (len(network),))


def _same(
    out: int,
    kernel: int,
    channels: int,
    filters: int,
    *,
    stride: int = 1,
    size: int | None = None,
    groups: int = 1,
    n: int = 1,
) -> Loops:
    side = out if size is None else size
    return Loops(
        p=out,
        q=out,
        m=filters,
        c=channels,
        r=kernel,
        s=kernel,
        n=n,
        groups=groups,
        strides=(stride, stride),
        height=side,
        width=side,
    )


def _depthwise(out: int, channels: int, stride: int, size: int) -> Loops:
    return _same(out, 3, 1, 1, stride=stride, size=size, groups=channels)


def _dense(channels: int, filters: int) -> Loops:
    return Loops(p=1, q=1, m=filters, c=channels)
